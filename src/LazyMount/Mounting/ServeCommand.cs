using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Output;

namespace LazyMount.Mounting;

/// <summary>
/// `lazymount daemon mount …`: the background process that `mount` starts, not for users. It inherits the open directory and a pipe, opens
/// and mounts the image while it still has the terminal, says through the pipe that the mount is ready, and serves it.
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

    public static Command Create(CommandHost host)
    {
        var ready = new Option<int>(ReadyOption) { Required = true, Recursive = true };
        var directory = new Option<int>(DirectoryOption) { Required = true, Recursive = true };
        var credentials = new Option<int?>(CredentialsOption) { Recursive = true };
        var arguments = new MountArguments();
        var verb = new Verb("mount", "Serve a mount.", "");
        arguments.AddTo(verb, host);
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            Interop.CloseInheritedOnExec(); // nothing that was inherited is for the helper programs that this process may start
            if (parsed.GetValue(credentials) is int secrets)
            {
                settings = settings with { Registries = settings.Registries with { Credentials = GivenCredentials.Receive(secrets) } };
            }
            using MountDirectory target = MountDirectory.Inherited(parsed.GetRequiredValue(directory));
            MountRequest request = arguments.Read(parsed, ref settings);
            return await RunAsync(request, target, parsed.GetRequiredValue(ready), settings, host, cancellationToken);
        });
        var command = new Command(Name) { ready, directory, credentials, verb };
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

    private static async Task<int> RunAsync(
        MountRequest request, MountDirectory target, int ready, CommandSettings settings, CommandHost host, CancellationToken cancellationToken)
    {
        using DaemonLog log = OpenLog(settings, target, host, out string? logPath);
        using var loggers = new ConciseLogs(Loggers.ForDaemon(settings, log), settings.Verbose);
        try
        {
            await using MountedImage mounted = await MountedImage.StartAsync(request, target, settings, logPath, host, loggers, cancellationToken);
            target.Dispose(); // it may be unmounted and removed from now on
            Daemon.Detach(ready, log);
            return await mounted.ServeAsync(cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
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
}
