using System.Globalization;

namespace LazyMount.Fuse;

/// <summary>A process that serves a mount, as others can find it.</summary>
/// <param name="Pid">Its number in its own PID namespace.</param>
/// <param name="Start">When it started, in clock ticks since the machine did: a number is given out again.</param>
/// <param name="PidNamespace">The inode number of its PID namespace; null for the initial one.</param>
public sealed record ServingProcess(int Pid, ulong Start, ulong? PidNamespace)
{
    /// <summary>The option by which a process says in its command line that it serves the mount of another one, which may end before it.</summary>
    public const string ForOption = "--for";

    /// <summary>This process.</summary>
    public static ServingProcess Own() => new(Environment.ProcessId, StartOf("/proc/self") ?? 0, s_namespace.Value);

    /// <summary>PID@START, or PID@START-NAMESPACE where it runs in a PID namespace of its own.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Pid}@{Start}{(PidNamespace is { } space ? $"-{space}" : "")}");

    /// <summary>Reads what <see cref="ToString"/> wrote; null for other text.</summary>
    public static ServingProcess? TryParse(string text)
    {
        int at = text.IndexOf('@', StringComparison.Ordinal), dash = text.IndexOf('-', StringComparison.Ordinal);
        ulong space = 0;
        return at >= 0 && (dash < 0 || dash > at)
            && int.TryParse(text[..at], NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
            && ulong.TryParse(dash < 0 ? text[(at + 1)..] : text[(at + 1)..dash], NumberStyles.None, CultureInfo.InvariantCulture, out ulong start)
            && (dash < 0 || ulong.TryParse(text[(dash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out space))
            ? new ServingProcess(pid, start, dash < 0 ? null : space)
            : null;
    }

    /// <summary>Its number in our own PID namespace; null when it is in another one.</summary>
    public int? OurPid => PidNamespace == s_namespace.Value ? Pid : null;

    /// <summary>It has ended, and so have those that served its mount. False when that cannot be told from here.</summary>
    public bool HasEnded()
    {
        try
        {
            // Another namespace's /proc says nothing of our numbers, and one that hides others' processes nothing of theirs.
            return NumbersOf("/proc/self").Length == 1 && Directory.Exists("/proc/1")
                && (OurPid is { } pid ? StartOf(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}")) != Start : HasEndedElsewhere())
                && !IsServedFor();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private bool IsServedFor()
    {
        string words = $"\0{ForOption}\0{this}\0";
        return Directory.EnumerateDirectories("/proc").Any(path => char.IsAsciiDigit(Path.GetFileName(path)[0]) && Read($"{path}/cmdline")?.Contains(words, StringComparison.Ordinal) == true);
    }

    // From the initial namespace every process is seen. From another one all of a namespace are seen, where one is: it is within ours.
    private bool HasEndedElsewhere()
    {
        bool isSeen = s_namespace.Value is null;
        foreach (string process in Directory.EnumerateDirectories("/proc").Where(path => char.IsAsciiDigit(Path.GetFileName(path)[0])))
        {
            bool? isThere = IsInNamespace(process);
            if (isThere != false && NumbersOf(process) is [.., int pid] && pid == Pid && StartOf(process) == Start)
            {
                return false; // this is the one, or one that cannot be told from it
            }
            isSeen |= isThere == true;
        }
        return isSeen;
    }

    // Null when we may not know.
    private bool? IsInNamespace(string process)
    {
        try
        {
            return NamespaceOf(process) == PidNamespace;
        }
        catch (UnauthorizedAccessException)
        {
            return null;
        }
        catch (IOException e) when (IsGone(e))
        {
            return false;
        }
    }

    // Null for a process that is not there, or has ended and is not yet waited for.
    private static ulong? StartOf(string process)
    {
        if (Read($"{process}/stat") is not { } stat)
        {
            return null;
        }
        // The name in parentheses may hold anything; behind it the state is the third field, and this the 22nd.
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return fields.Length > 19 && fields[0] is not ("Z" or "X") && ulong.TryParse(fields[19], NumberStyles.None, CultureInfo.InvariantCulture, out ulong start) ? start : null;
    }

    // From the namespace of /proc to the process's own; none for a process that is not there.
    private static int[] NumbersOf(string process)
    {
        const string Label = "NSpid:";
        string? line = Read($"{process}/status")?.Split('\n').FirstOrDefault(line => line.StartsWith(Label, StringComparison.Ordinal));
        return line is null ? [] : [.. line[Label.Length..].Split('\t', StringSplitOptions.RemoveEmptyEntries).Select(number => int.Parse(number, CultureInfo.InvariantCulture))];
    }

    private static string? Read(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (IOException e) when (IsGone(e))
        {
            return null;
        }
    }

    // When the process ends between opening and reading it is "no such process".
    private static bool IsGone(IOException e) => e is FileNotFoundException or DirectoryNotFoundException || e.HResult == Interop.ESRCH;

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
