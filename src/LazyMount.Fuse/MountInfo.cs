using System.Globalization;
using System.Text;
using LazyMount.Blobs.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).</summary>
/// <param name="Id">Number of the mount, unique among the mounts that there are.</param>
/// <param name="Device">major:minor of the file system; unique among the mounted ones.</param>
/// <param name="Path">Where it is mounted: bytes, each as one character (Latin-1).</param>
/// <param name="Type">File system type with subtype.</param>
/// <param name="Source">What was given as the source.</param>
internal sealed record MountInfo(int Id, string Device, string Path, string Type, string Source)
{
    private const string Table = "/proc/self/mountinfo";

    /// <summary>Which face of ours it is, or null when the mount is not ours.</summary>
    public MountFace? Face => Type == Fuse.MountPoint.FuseType ? MountFace.Fuse : Server is not null ? MountFace.Erofs : null;

    /// <summary>The process that serves an EROFS mount of this program; null for other mounts.</summary>
    public ServingProcess? Server => Erofs?.Server;

    /// <summary>The image that a mount of this program shows.</summary>
    public string Image => Erofs?.Image ?? Source;

    private ErofsSource? Erofs => Type == ErofsFace.Type ? ErofsSource.TryParse(Source) : null;

    /// <summary>Where it is mounted, as <see cref="PathText"/> has it.</summary>
    public string MountPoint => PathText.Decode(Encoding.Latin1.GetBytes(Path));

    /// <summary>Where it is mounted, for system calls: zero-terminated.</summary>
    public byte[] PathBytes => Encoding.Latin1.GetBytes(Path + '\0');

    /// <summary>All mounts of this mount namespace, in the order in which they were made.</summary>
    /// <exception cref="IOException">The table cannot be read, because there is no /proc or there are no descriptors left.</exception>
    public static List<MountInfo> ReadAll()
    {
        try
        {
            return Parse(File.ReadAllBytes(Table));
        }
        catch (IOException e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw NoProc(e);
        }
    }

    private static IOException NoProc(Exception e) => new($"cannot read '{Table}': /proc is not mounted; mount it with mount -t proc proc /proc", e);

    /// <summary>The uppermost mount on a directory, or null. Another mount on a directory above may hide it.</summary>
    public static MountInfo? Find(string directory) => FromBelow(ReadAll().FindAll(mount => mount.MountPoint == directory)).LastOrDefault();

    /// <summary>
    /// The mounts on one directory, the uppermost as the last. The table is in the order in which the mounts were made, which says nothing of one that was
    /// moved.
    /// </summary>
    public static IEnumerable<MountInfo> FromBelow(IReadOnlyCollection<MountInfo> there) => there.Count > 1 ? there.OrderBy(mount => mount.IsReachable()) : there;

    /// <summary>The number of the mount that an open file belongs to, or null.</summary>
    public static int? IdOf(SafeFileHandle file)
    {
        try
        {
            return IdIn(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fdinfo/{file.DangerousGetHandle()}"));
        }
        catch (DirectoryNotFoundException e)
        {
            throw NoProc(e);
        }
    }

    /// <summary>The number of the mount in a file of /proc/PID/fdinfo (proc_pid_fdinfo(5)), or null.</summary>
    public static int? IdIn(string information)
    {
        const string Label = "mnt_id:";
        foreach (string line in File.ReadLines(information))
        {
            if (line.StartsWith(Label, StringComparison.Ordinal))
            {
                return int.Parse(line[Label.Length..], CultureInfo.InvariantCulture);
            }
        }
        return null;
    }

    /// <summary>Whether the path of the mount leads to it: no other mount covers it. Nothing is asked of the file system.</summary>
    public bool IsReachable()
    {
        using SafeFileHandle root = Interop.Open(PathBytes, Interop.O_PATH | Interop.O_NOFOLLOW | Interop.O_CLOEXEC);
        return !root.IsInvalid && IdOf(root) == Id;
    }

    /// <summary>Lines that are not as documented are left out.</summary>
    internal static List<MountInfo> Parse(ReadOnlySpan<byte> text)
    {
        var mounts = new List<MountInfo>();
        foreach (Range line in text.Split((byte)'\n'))
        {
            // 36 35 98:0 /root /mount/point options [optional fields] - type source super-options
            string[] fields = Encoding.Latin1.GetString(text[line]).Split(' ');
            int separator = Array.IndexOf(fields, "-");
            if (separator >= 6 && fields.Length > separator + 2 && int.TryParse(fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out int id))
            {
                mounts.Add(new MountInfo(id, fields[2], Unescape(fields[4]), Text(fields[separator + 1]), Text(fields[separator + 2])));
            }
        }
        return mounts;
    }

    private static string Text(string field) => Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(Unescape(field)));

    /// <summary>Undoes the kernel's \ooo for space, tab, newline and backslash.</summary>
    private static string Unescape(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
        {
            return field;
        }
        var plain = new StringBuilder(field.Length);
        for (int i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + 3 < field.Length && IsOctal(field, i + 1) && IsOctal(field, i + 2) && IsOctal(field, i + 3))
            {
                plain.Append((char)(((field[i + 1] - '0') << 6) | ((field[i + 2] - '0') << 3) | (field[i + 3] - '0')));
                i += 3;
            }
            else
            {
                plain.Append(field[i]);
            }
        }
        return plain.ToString();

        static bool IsOctal(string text, int at) => text[at] is >= '0' and <= '7';
    }
}
