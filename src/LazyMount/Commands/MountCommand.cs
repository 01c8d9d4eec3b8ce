using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Mounting;

namespace LazyMount.Commands;

/// <summary>
/// `lazymount mount`: an image as a folder. Checks what can be checked at once and opens the directory, then starts the daemon
/// (<see cref="ServeCommand"/>) and waits until the mount is ready; with <c>--foreground</c> it serves the mount itself.
/// </summary>
internal static class MountCommand
{
    public static Command Create(CommandHost host)
    {
        var arguments = new MountArguments();
        var verb = new Verb("mount", "Mount an image as a read-only folder. Returns when the mount is ready. A background process then serves it.",
            """
            lazymount mount debian:12 /mnt
            lazymount mount -o allow_other,noexec oci:./layout:v1 /mnt
            lazymount mount -f --platform linux/arm64 quay.io/fedora/fedora /mnt
            lazymount mount --prefetch /usr/lib/python3 --prefetch /app quay.io/owner/app /mnt
            """);
        arguments.AddTo(verb, host);
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            MountRequest request = arguments.Read(parsed, ref settings);
            if (parsed.GetValue(arguments.Fake))
            {
                return ExitCode.Done;
            }
            using MountDirectory target = MountDirectory.Open(request.Directory);
            if (!parsed.GetValue(arguments.Foreground))
            {
                return await Daemon.StartAsync(host, target, settings.Registries.Credentials, settings.LogFile ?? StateDirectory.Open().LogFileOf(target.Path));
            }
            return Daemon.Become(host, target, settings.Registries.Credentials);
        });
        return verb;
    }
}
