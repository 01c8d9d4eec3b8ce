using System.Globalization;

namespace LazyMount.Keeping;

/// <summary>What the kernel says of a process, as proc_pid_stat(5) has it.</summary>
internal static class ProcessState
{
    /// <summary>Null for a process that has ended. '?' where that cannot be told.</summary>
    public static char? Of(int process)
    {
        try
        {
            string stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/stat"));
            char state = stat[stat.LastIndexOf(')') + 2];
            return state is 'Z' or 'X' ? null : state; // Z: nobody has waited for it yet
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Directory.Exists("/proc/self") ? null : '?';
        }
    }

    /// <summary>Whether a state of <see cref="Of"/> is that of a process that was stopped, as by SIGSTOP.</summary>
    public static bool IsStopped(char? state) => state is 'T' or 't';
}
