using System.Text;

namespace LazyMount.Fuse;

/// <summary>One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).</summary>
/// <param name="Device">major:minor of the file system; unique among the mounted ones.</param>
/// <param name="MountPoint">Where it is mounted.</param>
/// <param name="Type">File system type with subtype.</param>
/// <param name="Source">What was given as the source.</param>
internal sealed record MountInfo(string Device, string MountPoint, string Type, string Source)
{
    private const string Path = "/proc/self/mountinfo";

    /// <summary>All mounts of this mount namespace, in the order in which they were made.</summary>
    public static List<MountInfo> ReadAll() => Parse(File.ReadAllBytes(Path));

    /// <summary>The topmost mount on a directory, or null.</summary>
    public static MountInfo? Find(string directory) => ReadAll().FindLast(mount => mount.MountPoint == directory);

    /// <summary>Lines that are not as documented are left out.</summary>
    internal static List<MountInfo> Parse(ReadOnlySpan<byte> text)
    {
        var mounts = new List<MountInfo>();
        foreach (Range line in text.Split((byte)'\n'))
        {
            // 36 35 98:0 /root /mount/point options [optional fields] - type source super-options
            string[] fields = Encoding.UTF8.GetString(text[line]).Split(' ');
            int separator = Array.IndexOf(fields, "-");
            if (separator >= 6 && fields.Length > separator + 2)
            {
                mounts.Add(new MountInfo(fields[2], Unescape(fields[4]), Unescape(fields[separator + 1]), Unescape(fields[separator + 2])));
            }
        }
        return mounts;
    }

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

    /// <summary>The number under which fusectl shows the connection: the device's minor part.</summary>
    public string ConnectionId => Device[(Device.IndexOf(':', StringComparison.Ordinal) + 1)..];
}
