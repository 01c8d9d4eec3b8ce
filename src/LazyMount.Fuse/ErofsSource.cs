using System.Globalization;
using System.Text;

namespace LazyMount.Fuse;

/// <summary>
/// What the mount table shows as the source of an EROFS mount of ours: <c>lazymount:PID@START:IMAGE</c>, or <c>lazymount:PID@START-NAMESPACE:IMAGE</c>
/// where the serving process runs in a PID namespace of its own. It tells our mounts from others, and who serves one: an EROFS mount
/// whose server is gone still answers statfs(2).
/// </summary>
/// <param name="Pid">The serving process.</param>
/// <param name="Start">When it started, in clock ticks since the machine did: a number is given out again.</param>
/// <param name="PidNamespace">The inode number of its PID namespace; null for the initial one.</param>
/// <param name="Image">What is mounted.</param>
internal sealed record ErofsSource(int Pid, ulong Start, ulong? PidNamespace, string Image)
{
    private const string Prefix = "lazymount:";

    /// <summary>The source of an EROFS mount of this process in the mount table.</summary>
    public static ErofsSource Of(string image) => new(Environment.ProcessId, StartOf("/proc/self") ?? 0, s_namespace.Value, image);

    /// <summary>Null for a mount that is not ours.</summary>
    public static ErofsSource? TryParse(string source)
    {
        if (!source.StartsWith(Prefix, StringComparison.Ordinal) || source.IndexOf(':', Prefix.Length) is not (> 0 and int colon))
        {
            return null;
        }
        string server = source[Prefix.Length..colon];
        int at = server.IndexOf('@', StringComparison.Ordinal), dash = server.IndexOf('-', StringComparison.Ordinal);
        ulong space = 0;
        return at >= 0 && (dash < 0 || dash > at)
            && int.TryParse(server[..at], NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
            && ulong.TryParse(dash < 0 ? server[(at + 1)..] : server[(at + 1)..dash], NumberStyles.None, CultureInfo.InvariantCulture, out ulong start)
            && (dash < 0 || ulong.TryParse(server[(dash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out space))
            ? new ErofsSource(pid, start, dash < 0 ? null : space, source[(colon + 1)..])
            : null;
    }

    /// <summary>The serving process's number in our own PID namespace; null when it is in another one.</summary>
    public int? OurPid => PidNamespace == s_namespace.Value ? Pid : null;

    /// <summary>
    /// The source as the path that the kernel opens, each step of it by a look-up that <see cref="BackingFileOperations"/> answers. The
    /// image's name is kept as it is if it can be walked and fits.
    /// </summary>
    public override string ToString()
    {
        string head = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Pid}@{Start}{(PidNamespace is { } space ? $"-{space}" : "")}:");
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
        // Another namespace's /proc says nothing of our numbers, and one that hides others' processes nothing of theirs.
        if (File.ResolveLinkTarget("/proc/self", returnFinalTarget: false)?.Name != Environment.ProcessId.ToString(CultureInfo.InvariantCulture) || !Directory.Exists("/proc/1"))
        {
            return false;
        }
        try
        {
            if (PidNamespace == s_namespace.Value)
            {
                return StartOf(string.Create(CultureInfo.InvariantCulture, $"/proc/{Pid}")) != Start;
            }
            // From the initial namespace all processes are seen; root may see whose they are.
            return s_namespace.Value is null && Interop.GetEffectiveUserId() == 0 && !Directory.EnumerateDirectories("/proc").Any(IsServer);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    // Whether a directory of /proc is the server's, which has another number in its own namespace.
    private bool IsServer(string process)
    {
        try
        {
            return int.TryParse(Path.GetFileName(process), NumberStyles.None, CultureInfo.InvariantCulture, out _)
                && NamespaceOf(process) == PidNamespace
                && File.ReadLines($"{process}/status").Any(line => line.StartsWith("NSpid:", StringComparison.Ordinal) && line.Split('\t')[^1] == Pid.ToString(CultureInfo.InvariantCulture))
                && StartOf(process) == Start;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // it has ended
        }
    }

    // Null for a process that is not there.
    private static ulong? StartOf(string process)
    {
        try
        {
            string stat = File.ReadAllText($"{process}/stat");
            // The name in parentheses may hold anything; behind it the state is the third field, and this the 22nd.
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields.Length > 19 && fields[0] is not ("Z" or "X") && ulong.TryParse(fields[19], NumberStyles.None, CultureInfo.InvariantCulture, out ulong start) ? start : null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    // The inode number of the PID namespace; null for the initial one, whose number is fixed in the kernel.
    private static readonly Lazy<ulong?> s_namespace = new(() => NamespaceOf("/proc/self"));

    private static ulong? NamespaceOf(string process)
    {
        const ulong Initial = 0xEFFFFFFC; // PROC_PID_INIT_INO
        string? text = File.ResolveLinkTarget($"{process}/ns/pid", returnFinalTarget: false)?.Name; // pid:[4026531836]
        int begin = text?.IndexOf('[', StringComparison.Ordinal) + 1 ?? 0;
        return begin > 0 && ulong.TryParse(text.AsSpan(begin).TrimEnd(']'), NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) && number != Initial ? number : null;
    }
}
