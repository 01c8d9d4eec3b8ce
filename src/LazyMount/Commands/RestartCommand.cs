using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Fuse;
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
            IReadOnlyList<MountPoint> mounts = MountPoint.List();
            IReadOnlyList<StoredRecord> records = state.ReadAll();
            int exitCode = ExitCode.Done;
            foreach ((string directory, StoredRecord? stored) in directories.Read(parsed, Find, () => records.Where(record => record.IsHeld).Select(record => (PlaceOf(record), (StoredRecord?)record))))
            {
                try
                {
                    await RestartAsync(directory, stored ?? throw NoRecord(directory), cancellationToken);
                }
                catch (CommandException e)
                {
                    exitCode = Math.Max(exitCode, host.Report(e, settings));
                }
            }
            foreach (StoredRecord record in records)
            {
                record.Dispose();
            }
            return exitCode;

            (string, StoredRecord?) Find(string directory) => (directory, StateDirectory.Find(directory, mounts, records));

            string PlaceOf(StoredRecord record) => mounts.FirstOrDefault(record.Record.IsOf)?.Directory ?? record.Record.MountPoint;

            CommandException NoRecord(string directory) => new(mounts.Any(mount => mount.Directory == directory)
                ? $"cannot restart the mount on '{directory}': '{state.Root}' has no record of it; unmount the image, and mount it again"
                : $"cannot restart the mount on '{directory}': no image is mounted there; run lazymount list to see all mounts");
        });
        return verb;
    }

    private static async Task RestartAsync(string directory, StoredRecord stored, CancellationToken cancellationToken)
    {
        int? before = null;
        while (true)
        {
            if (!stored.IsHeld)
            {
                throw new CommandException(before is null
                    ? $"cannot restart the mount on '{directory}': its processes have ended; clean up with lazymount umount '{directory}', and mount the image again"
                    : $"cannot restart the mount on '{directory}': it was unmounted meanwhile");
            }
            MountRecord record = stored.ReadAgain() ?? stored.Record;
            char? keeper = ProcessState.Of(record.Pid);
            if (record.Pid == record.Worker || keeper is null || (before is null && !ProcessState.IsStopped(keeper) && !Interop.Kill(record.Pid, Keeper.RestartSignal)))
            {
                throw new CommandException($"cannot restart the mount on '{directory}': its keeper has ended; unmount the image, and mount it again");
            }
            if (ProcessState.IsStopped(keeper) || (!record.SurvivesCrashes && record.Worker is int worker && ProcessState.IsStopped(ProcessState.Of(worker))))
            {
                // Of a kernel that sends requests again, a worker that is stopped is killed by its keeper.
                int stopped = ProcessState.IsStopped(keeper) ? record.Pid : record.Worker!.Value;
                throw new CommandException($"cannot restart the mount on '{directory}': its process {stopped} is stopped; let it go on with kill -CONT {stopped}");
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
