using System.Globalization;
using System.Text;

namespace LazyMount.Fuse;

/// <summary>
/// What the mount table shows as the source of an EROFS mount of ours: <c>lazymount:PID:IMAGE</c>, or <c>lazymount:PID-NAMESPACE:IMAGE</c> where the
/// serving process runs in a PID namespace of its own. It tells our mounts from others, and who serves one: an EROFS mount whose
/// server is gone still answers statfs(2).
/// </summary>
internal sealed record ErofsSource(int Pid, ulong? PidNamespace, string Image)
{
    private const string Prefix = "lazymount:";

    /// <summary>What this process puts in the mount table.</summary>
    public static ErofsSource Of(string image) => new(Environment.ProcessId, s_namespace.Value, image);

    /// <summary>Null for a mount that is not ours.</summary>
    public static ErofsSource? TryParse(string source)
    {
        if (!source.StartsWith(Prefix, StringComparison.Ordinal) || source.IndexOf(':', Prefix.Length) is not (> 0 and int colon))
        {
            return null;
        }
        string server = source[Prefix.Length..colon];
        int dash = server.IndexOf('-', StringComparison.Ordinal);
        ulong space = 0;
        return int.TryParse(dash < 0 ? server : server[..dash], NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
            && (dash < 0 || ulong.TryParse(server[(dash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out space))
            ? new ErofsSource(pid, dash < 0 ? null : space, source[(colon + 1)..])
            : null;
    }

    /// <summary>
    /// The source as the path that the kernel opens, each step of it by a look-up that <see cref="BackingFileOperations"/> answers. The
    /// image's name is kept as it is if it can be walked and fits.
    /// </summary>
    public override string ToString()
    {
        string head = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Pid}{(PidNamespace is { } space ? $"-{space}" : "")}:");
        int room = FileSystemContext.MaxValue - 1 - head.Length;
        string[] steps = (head + Image).Split('/');
        if (Encoding.UTF8.GetByteCount(Image) <= room && !steps.Contains("..") && steps[^1] is not ("" or "."))
        {
            return head + Image;
        }
        // The end of the name tells more than its beginning: a tag, a digest.
        string name = Image.Replace('/', '_');
        while (Encoding.UTF8.GetByteCount(name) > room)
        {
            name = name[1..];
        }
        return head + name;
    }

    /// <summary>The serving process is gone. False when that cannot be told from here.</summary>
    public bool IsDead()
    {
        if (PidNamespace != s_namespace.Value)
        {
            return false; // the number is another process's here
        }
        string process = string.Create(CultureInfo.InvariantCulture, $"/proc/{Pid}");
        try
        {
            // A process that ends keeps its number for a while, and a number is given out again: it must have the device.
            return !Directory.EnumerateFileSystemEntries($"{process}/fd").Any(file => File.ResolveLinkTarget(file, returnFinalTarget: false)?.FullName == FuseDevice.Path);
        }
        catch (DirectoryNotFoundException)
        {
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return !Directory.Exists(process);
        }
    }

    // The inode number of the PID namespace; null for the initial one, whose number is fixed in the kernel.
    private static readonly Lazy<ulong?> s_namespace = new(() =>
    {
        const ulong Initial = 0xEFFFFFFC; // PROC_PID_INIT_INO
        string? text = File.ResolveLinkTarget("/proc/self/ns/pid", returnFinalTarget: false)?.Name; // pid:[4026531836]
        int begin = text?.IndexOf('[', StringComparison.Ordinal) + 1 ?? 0;
        return begin > 0 && ulong.TryParse(text.AsSpan(begin).TrimEnd(']'), NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) && number != Initial ? number : null;
    });
}
