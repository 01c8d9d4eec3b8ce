using System.Diagnostics;
using System.Globalization;
using LazyMount.Fuse;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Fuse;

/// <summary>Whether the process that serves a mount has ended, asked of real processes.</summary>
public sealed class ServingProcessTests
{
    private const int SigKill = 9;

    [Fact]
    public void Own_IsThere_AndNotItsSuccessorOfTheSameNumber()
    {
        ServingProcess own = ServingProcess.Own();
        Assert.Equal((Environment.ProcessId, Environment.ProcessId), (own.Pid, own.OurPid));
        Assert.False(own.HasEnded());
        Assert.True((own with { Start = own.Start + 1 }).HasEnded());
        Assert.True((own with { Pid = int.MaxValue }).HasEnded());
    }

    [Fact]
    public void AChild_HasEndedWhenItIsKilled_EvenBeforeItIsWaitedFor()
    {
        // The shell does not wait for its child, which stays a zombie.
        using Tool shell = Tool.Start("bash", ["-c", "sleep 300 & exec sleep 300"]);
        int child = WaitFor(() => ChildrenOf(shell.ProcessId) is [int one] ? one : (int?)null);
        ServingProcess process = ServingProcess.Own() with { Pid = child, Start = StartOf(child) };
        Assert.False(process.HasEnded());
        Assert.True((process with { Start = process.Start - 1 }).HasEnded());
        Kill(child);
        WaitFor(() => StateOf(child) == 'Z');
        Assert.True(process.HasEnded());
        shell.Signal(SigKill);
        shell.WaitForExit();
        Assert.True((process with { Pid = shell.ProcessId }).HasEnded());
    }

    [Fact]
    public void AProcessOfAnotherNamespace_IsFound_AndMissed()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can make a PID namespace");
        // Two processes with numbers of their own: 1 is the shell, which goes on, 2 is the one that is asked for.
        using Tool first = Tool.Start("unshare", ["--pid", "--fork", "--kill-child", "bash", "-c", "sleep 300 & wait; sleep 300"]);
        int init = WaitFor(() => ChildrenOf(first.ProcessId) is [int one] ? one : (int?)null);
        int server = WaitFor(() => ChildrenOf(init) is [int one] ? one : (int?)null);
        var process = new ServingProcess(2, StartOf(server), NamespaceOf(server));
        Assert.Null(process.OurPid);
        Assert.False(process.HasEnded());
        Assert.True((process with { Start = process.Start + 100_000 }).HasEnded());
        Assert.True((process with { Pid = 77 }).HasEnded());
        Kill(server);
        WaitFor(() => StateOf(server) is null);
        Assert.True(process.HasEnded());

        // Without any process of its namespace in sight it may be where only the initial namespace sees it.
        Kill(init);
        WaitFor(() => StateOf(init) is null);
        Assert.Equal(ServingProcess.Own().PidNamespace is null, process.HasEnded());
    }

    [Fact]
    public void ANamespaceThatIsNotInOurs_CannotBeTold()
    {
        ServingProcess own = ServingProcess.Own();
        Assert.Equal(own.PidNamespace is null, (own with { PidNamespace = 1 }).HasEnded());
    }

    private static int[] ChildrenOf(int process)
        => [.. Tool.Run("ps", "-o", "pid=", "--ppid", process.ToString(CultureInfo.InvariantCulture)).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, CultureInfo.InvariantCulture))];

    private static string[]? StatusOf(int process)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{process}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static char? StateOf(int process) => StatusOf(process)?[0][0];

    private static ulong StartOf(int process) => ulong.Parse(StatusOf(process)![19], CultureInfo.InvariantCulture);

    private static ulong NamespaceOf(int process)
        => ulong.Parse(File.ResolveLinkTarget($"/proc/{process}/ns/pid", returnFinalTarget: false)!.Name["pid:[".Length..^1], CultureInfo.InvariantCulture);

    private static void Kill(int process) => Process.GetProcessById(process).Kill();

    private static void WaitFor(Func<bool> condition) => WaitFor(() => condition() ? 1 : (int?)null);

    private static int WaitFor(Func<int?> value)
    {
        for (int attempt = 0; attempt < 600; attempt++)
        {
            if (value() is int found)
            {
                return found;
            }
            Thread.Sleep(50);
        }
        throw new TimeoutException("waited half a minute");
    }
}
