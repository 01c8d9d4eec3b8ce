using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Keeping;
using LazyMount.Output;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// `lazymount daemon mount …`: the worker that the keeper of a mount (<see cref="Keeper"/>) starts, not for users. The first one inherits the open
/// directory and a pipe, opens and mounts the image while it still has the terminal, says through the pipe that the mount is ready, and
/// serves it. Those that follow it go on with its mount.
/// </summary>
internal static class ServeCommand
{
    public const string Name = "daemon";

    /// <summary>Where to say that the mount is ready.</summary>
    public const string ReadyOption = "--ready-fd";

    /// <summary>The open directory to mount on.</summary>
    public const string DirectoryOption = "--directory-fd";

    /// <summary>Where to read the credentials that the command line gave.</summary>
    public const string CredentialsOption = "--credentials-fd";

    /// <summary>The mount stays in front: the worker logs to standard error, and the keeper does not leave the terminal.</summary>
    public const string ForegroundOption = "--in-front";

    // For the service manager.
    private const string Serving = "STATUS=serving";

    public static Command Create(CommandHost host)
    {
        var ready = new Option<int?>(ReadyOption) { Recursive = true };
        var directory = new Option<int>(DirectoryOption) { Required = true, Recursive = true };
        var credentials = new Option<int?>(CredentialsOption) { Recursive = true };
        var foreground = new Option<bool>(ForegroundOption) { Recursive = true };
        var keeping = new Option<string?>(ServingProcess.ForOption) { Recursive = true };
        var arguments = new MountArguments();
        var verb = new Verb("mount", "Serve a mount.", "");
        arguments.AddTo(verb, host);
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            Interop.CloseInheritedOnExec(); // nothing that was inherited is for the helper programs that this process may start
            if (parsed.GetValue(credentials) is int secrets)
            {
                settings = settings with { Registries = settings.Registries with { Credentials = GivenCredentials.Read(secrets) } };
            }
            MountRequest request = arguments.Read(parsed, ref settings);
            bool isInFront = parsed.GetValue(foreground);
            if (!isInFront && host is { Signals: { } signals, Keeper: { } keeper })
            {
                signals.HangUp = keeper.AskForRestart;
            }
            if (host.Keeper is { Reason: not null })
            {
                return await ResumeAsync(request, settings, isInFront, host, cancellationToken);
            }
            using MountDirectory target = MountDirectory.Inherited(parsed.GetRequiredValue(directory));
            return await StartAsync(request, target, isInFront ? null : parsed.GetValue(ready), settings, host, cancellationToken);
        });
        var command = new Command(Name) { ready, directory, credentials, foreground, keeping, verb };
        command.Hidden = true;
        return command;
    }

    // A log file that the user has named must be there; the one in the state directory need not.
    private static DaemonLog OpenLog(CommandSettings settings, MountDirectory target, CommandHost host, out string? path)
    {
        if ((path = settings.LogFile) is not null)
        {
            return DaemonLog.Append(path);
        }
        try
        {
            if ((path = StateDirectory.TryCreate(host.Note)?.LogFileOf(target.Path)) is not null)
            {
                return DaemonLog.Start(path);
            }
        }
        catch (CommandException e)
        {
            path = null;
            host.Note($"note: the mount has no log file: {e.Message}");
        }
        return DaemonLog.Append("/dev/null");
    }

    private static async Task<int> StartAsync(
        MountRequest request, MountDirectory target, int? ready, CommandSettings settings, CommandHost host, CancellationToken cancellationToken)
    {
        host.Keeper?.Listen();
        string? logPath = settings.LogFile;
        using DaemonLog? log = ready is null ? null : OpenLog(settings, target, host, out logPath);
        using var loggers = new ConciseLogs(log is null ? Loggers.ForForeground(settings) : Loggers.ForDaemon(settings, log), settings.Verbose);
        try
        {
            await using MountedImage mounted = await MountedImage.StartAsync(request, target, settings, logPath, host, loggers, cancellationToken);
            target.Dispose(); // it may be unmounted and removed from now on
            if (ready is int pipe)
            {
                Daemon.Detach(pipe, log!);
            }
            // In the background the manager has started another process than the keeper.
            host.Keeper?.Notify($"READY=1\n{(ready is null ? "" : $"MAINPID={host.Keeper.Keeper.Pid}\n")}{Serving}");
            return Ended(await mounted.ServeAsync(cancellationToken), mounted, settings, logPath);
        }
        catch (Exception e) when (log is not null && e is not OperationCanceledException)
        {
            // Once the terminal is left nobody sees the message. Before, the sentence is enough for what we expect.
            loggers.CreateLogger("LazyMount.Mount").MountFailed(e, request.Directory, e.Message);
            if (logPath is not null && (settings.Verbose || !Failure.IsExpected(e)))
            {
                host.Error.WriteLine($"lazymount: the log of this mount is '{logPath}'");
            }
            throw;
        }
    }

    // The log of a mount that has ended well is of no use any more.
    private static int Ended(int exitCode, MountedImage mounted, CommandSettings settings, string? logPath)
    {
        if (exitCode == ExitCode.Done && !mounted.GoesOn && settings is { LogFile: null, Verbose: false } && logPath is not null)
        {
            StateDirectory.RemoveLog(logPath);
        }
        return exitCode;
    }

    // The directory of the log may be gone by now: the mount does not depend on it.
    private static DaemonLog OpenLogAgain(string? path, bool isUsers)
    {
        try
        {
            return path is null ? DaemonLog.Append("/dev/null") : isUsers ? DaemonLog.Append(path) : DaemonLog.Continue(path);
        }
        catch (CommandException)
        {
            return DaemonLog.Append("/dev/null");
        }
    }

    private static async Task<int> ResumeAsync(MountRequest request, CommandSettings settings, bool isInFront, CommandHost host, CancellationToken cancellationToken)
    {
        KeeperLink keeper = host.Keeper!;
        SafeFileHandle? record = keeper.FileOf(HeldFiles.Record);
        string? logPath = settings.LogFile ?? (record is null ? null : StoredRecord.Read(record)?.LogFile);
        using DaemonLog? log = isInFront ? null : OpenLogAgain(logPath, isUsers: settings.LogFile is not null);
        log?.TakeStandardOutput();
        using var loggers = new ConciseLogs(log is null ? Loggers.ForForeground(settings) : Loggers.ForDaemon(settings, log), settings.Verbose);
        try
        {
            Environment.CurrentDirectory = "/";
            await using MountedImage mounted = await MountedImage.ResumeAsync(request, settings, keeper, host, loggers, cancellationToken);
            keeper.Notify(Serving);
            return Ended(await mounted.ServeAsync(cancellationToken), mounted, settings, logPath);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            loggers.CreateLogger("LazyMount.Mount").MountFailed(e, request.Directory, e.Message);
            if (record is not null && !keeper.IsAfterDeath)
            {
                StoredRecord.NoteFailedRestart(record, e.Message);
            }
            throw;
        }
    }
}
