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
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(5);

    public static Command Create(CommandHost host)
    {
        var directories = new Argument<string[]>("DIR") { Description = "A directory that an image is mounted on", Arity = ArgumentArity.OneOrMore };
        var lazy = new Option<bool>("--lazy", "-l") { Description = "Detach now even if in use; the daemon ends when the last user leaves" };
        var verb = new Verb("umount", "Unmount images and wait until their daemons have ended. Cleans up after a daemon that was killed, too.",
            """
            lazymount umount /mnt
            lazymount umount -l /mnt/a /mnt/b
            """)
        { directories, lazy };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            int exitCode = ExitCode.Done;
            string[] given = parsed.GetRequiredValue(directories);
            if (given.Contains(""))
            {
                throw new UsageException("umount needs a directory");
            }
            foreach (string directory in given)
            {
                try
                {
                    await UnmountAsync(MountedPath(directory), parsed.GetValue(lazy), host, cancellationToken);
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

    private static async Task UnmountAsync(string mountPoint, bool lazy, CommandHost host, CancellationToken cancellationToken)
    {
        StateDirectory state = StateDirectory.Open();
        MountRecord? record = state.Find(mountPoint);
        MountPoint.Unmount(mountPoint, lazy);
        if (record is null)
        {
            return;
        }
        if (!lazy)
        {
            var waited = Stopwatch.StartNew();
            while (record.IsRunning && waited.Elapsed < s_daemonEnds)
            {
                await Task.Delay(s_poll, cancellationToken);
            }
            if (record.IsRunning)
            {
                host.Error.WriteLine($"lazymount: '{mountPoint}' is unmounted, but its daemon (process {record.Pid}) has not ended in {s_daemonEnds.TotalSeconds:0} s; its log is '{record.LogFile}'");
                return;
            }
        }
        if (!record.IsRunning)
        {
            state.Remove(mountPoint, record.Pid);
        }
    }

    /// <summary>
    /// The directory as the mount table has it. On a dead mount every look at the directory itself fails, so only its
    /// parent is asked for symlinks.
    /// </summary>
    internal static string MountedPath(string directory)
    {
        if (Interop.RealPath(directory) is { } real)
        {
            return real;
        }
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory));
        return Path.GetDirectoryName(full) is { } parent && Interop.RealPath(parent) is { } realParent ? Path.Combine(realParent, Path.GetFileName(full)) : full;
    }
}
