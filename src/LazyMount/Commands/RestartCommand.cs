using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Keeping;
using LazyMount.Mounting;

namespace LazyMount.Commands;

/// <summary>`lazymount restart`: the program that is on disk now serves the mounts, and whoever uses them does not notice.</summary>
internal static class RestartCommand
{
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(5);

    public static Command Create(CommandHost host)
    {
        var directories = new MountedDirectories("A directory that an image is mounted on", new Option<bool>("--all", "-a") { Description = "Restart all mounts that this user has made" });
        var verb = new Verb("restart", "Let the program that is on disk now serve mounts, as after an upgrade. Programs that use them go on.",
            """
            lazymount restart /mnt
            lazymount restart --all
            """);
        directories.AddTo(verb);
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            StateDirectory state = StateDirectory.Open();
            int exitCode = ExitCode.Done;
            foreach (string directory in directories.Read(parsed, state.MountPoints))
            {
                try
                {
                    await RestartAsync(directory, state, cancellationToken);
                }
                catch (CommandException e)
                {
                    exitCode = Math.Max(exitCode, host.Report(e, settings));
                }
            }
            return exitCode;
        });
        return verb;
    }

    private static async Task RestartAsync(string directory, StateDirectory state, CancellationToken cancellationToken)
    {
        int? before = null;
        while (true)
        {
            using StoredRecord? stored = state.Find(directory);
            if (stored is not { IsHeld: true })
            {
                throw new CommandException(before is null
                    ? $"cannot restart the mount on '{directory}': no image is mounted there; run lazymount list to see all mounts"
                    : $"cannot restart the mount on '{directory}': it was unmounted meanwhile");
            }
            MountRecord record = stored.Record;
            if (record.Pid == record.Worker || ProcessState.Of(record.Pid) is null || (before is null && !Interop.Kill(record.Pid, Keeper.RestartSignal)))
            {
                throw new CommandException($"cannot restart the mount on '{directory}': its keeper has ended; unmount the image, and mount it again");
            }
            if (before is null)
            {
                before = record.Restarts;
            }
            else if (record.Restarts > before)
            {
                if (record.RestartError is { } reason)
                {
                    throw new CommandException(reason.StartsWith("cannot restart", StringComparison.Ordinal) ? reason
                        : $"cannot restart the mount on '{directory}': {reason}; the old process goes on");
                }
                return;
            }
            await Task.Delay(s_poll, cancellationToken);
        }
    }
}
