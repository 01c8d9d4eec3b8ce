using System.CommandLine;
using System.Diagnostics;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Mounting;

namespace LazyMount.Commands;

/// <summary>`lazymount umount`: takes mounts away, dead ones too, and waits for their daemons to end.</summary>
internal static class UmountCommand
{
    private static readonly TimeSpan s_daemonEnds = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_daemonShouldEnd = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(5);

    public static Command Create(CommandHost host)
    {
        var directories = new MountedDirectories("A directory that an image is mounted on", new Option<bool>("--all", "-a") { Description = "Unmount all images that are mounted here" });
        var lazy = new Option<bool>("--lazy", "-l") { Description = "Detach now even if in use; the daemon ends when the last user leaves" };
        var verb = new Verb("umount", "Unmount images and wait until their daemons have ended. Cleans up after a daemon that was killed, too.",
            """
            lazymount umount /mnt
            lazymount umount -l /mnt/a /mnt/b
            lazymount umount --all
            """)
        { lazy };
        directories.AddTo(verb);
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            int exitCode = ExitCode.Done;
            // Of all, the last one first: it may lie on another.
            foreach (string directory in directories.Read(parsed, directory => directory, () => MountPoint.List().DistinctBy(mount => (mount.Directory, mount.Device)).Select(mount => mount.Directory).Reverse()))
            {
                try
                {
                    await UnmountAsync(directory, parsed.GetValue(lazy), host, cancellationToken);
                }
                catch (Exception e) when (e is FuseException or CommandException)
                {
                    exitCode = Math.Max(exitCode, host.Report(e, settings));
                }
            }
            return exitCode;
        });
        return verb;
    }

    private static async Task UnmountAsync(string directory, bool lazy, CommandHost host, CancellationToken cancellationToken)
    {
        StateDirectory state = StateDirectory.Open();
        MountPoint[] mounts = [.. MountPoint.List()];
        MountPoint? mount = Array.FindLast(mounts, mount => mount.Directory == directory);
        IReadOnlyList<StoredRecord> records = state.ReadAll();
        try
        {
            StoredRecord? stored = StateDirectory.Find(directory, mounts, records);
            if (stored?.Record is not { } record)
            {
                MountPoint.Unmount(directory, lazy);
                return;
            }
            if (mount is null && !mounts.Any(record.IsOf))
            {
                throw new CommandException($"cannot unmount '{directory}': it is unmounted already, but programs or other mount namespaces still use it; end its daemon with `kill {record.Pid}`");
            }
            if (mount is not null && record.MountPoint != directory && mounts.Any(mount => record.IsOf(mount) && mount.Directory == record.MountPoint))
            {
                MountPoint.Unmount(directory, lazy); // a bind mount: the mount itself stays
                return;
            }
            if (record.Device is { } device)
            {
                MountPoint.UnmountAll(device, lazy);
            }
            else
            {
                MountPoint.Unmount(directory, lazy);
            }
            if (!lazy)
            {
                await WaitForDaemonAsync(stored, directory, host, cancellationToken);
            }
            if (!stored.IsHeld)
            {
                state.Remove(stored); // of a daemon that was killed
            }
        }
        finally
        {
            foreach (StoredRecord record in records)
            {
                record.Dispose();
            }
        }
    }

    private static async Task WaitForDaemonAsync(StoredRecord stored, string directory, CommandHost host, CancellationToken cancellationToken)
    {
        MountRecord record = stored.Record;
        var waited = Stopwatch.StartNew();
        bool looked = false;
        while (stored.IsHeld)
        {
            bool looks = !looked && waited.Elapsed > s_daemonShouldEnd;
            looked |= looks;
            if (looks && record.Device is { } device && MountPoint.FindElsewhere(device) is int holder)
            {
                host.Error.WriteLine($"lazymount: note: '{directory}' is unmounted here, but its daemon (process {record.Pid}) goes on, because process {holder} has it in another mount namespace, such as a container's; `kill {record.Pid}` ends it for all");
                return;
            }
            if (waited.Elapsed > s_daemonEnds)
            {
                host.Error.WriteLine($"lazymount: note: '{directory}' is unmounted, but its daemon (process {record.Pid}) has not ended in {s_daemonEnds.TotalSeconds:0} s; its log is '{record.LogFile}'");
                return;
            }
            await Task.Delay(s_poll, cancellationToken);
        }
    }
}
