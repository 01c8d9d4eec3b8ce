using System.CommandLine;
using System.Runtime;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Images;
using LazyMount.Layers;
using LazyMount.Mounting;
using LazyMount.Output;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Commands;

/// <summary>`lazymount mount`: an image as a folder, served until it is unmounted.</summary>
internal static class MountCommand
{
    /// <summary>What `mount` was asked to do, checked as far as that goes without the network.</summary>
    private sealed record Request(ImageReference Image, string Directory, MountOptions Options, bool Foreground, IReadOnlyList<string> Prefetch);

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var directory = new Argument<string>("DIR") { Description = "An empty directory to mount on" };
        var foreground = new Option<bool>("--foreground", "-f") { Description = "Stay in front, log to standard error, unmount at Ctrl-C" };
        var options = new Option<string[]>("--options", "-o")
        {
            Description = "Options as of mount(8), separated by commas: ro, allow_other, uid=N, gid=N, noexec, and for root suid, dev",
            HelpName = "OPTIONS",
            DefaultValueFactory = _ => [],
        };
        var prefetch = new Option<string[]>("--prefetch")
        {
            Description = "Fetch in the background what will be read: all, none, or a path inside the image, as often as wanted [what the image says, if it does]",
            HelpName = "all|none|PATH",
            DefaultValueFactory = _ => [],
        };
        var verify = new Option<bool>("--verify-full")
        {
            Description = "Fetch every layer whole in the background for which less than its own digest vouches, check the digest, and compare; a lie ends all reads (--prefetch all does so as well)",
        };
        var verb = new Verb("mount", "Mount an image as a read-only folder. Returns when the folder answers; a daemon serves it from then on.",
            """
            lazymount mount debian:12 /mnt
            lazymount mount -o allow_other,noexec oci:./layout:v1 /mnt
            lazymount mount -f --platform linux/arm64 quay.io/fedora/fedora /mnt
            lazymount mount --prefetch /usr/lib/python3 --prefetch /app quay.io/owner/app /mnt
            """)
        { image, directory, foreground, options, prefetch, verify, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            // What is fetched whole is verified whole.
            settings = settings with { VerifiesFully = parsed.GetValue(verify) || parsed.GetValue(prefetch) is ["all"] };

            // :: Step 1: everything that can be refused at once is refused before any network.
            string given = parsed.GetRequiredValue(directory) is { Length: > 0 } named ? named : throw new UsageException("mount needs a directory");
            var request = new Request(
                ImageArgument.Parse(parsed.GetRequiredValue(image)),
                Interop.RealPath(given) ?? Path.GetFullPath(given),
                MountOptions.Parse(parsed.GetValue(options) ?? [], Environment.IsPrivilegedProcess),
                parsed.GetValue(foreground),
                PrefetchWords(parsed.GetValue(prefetch) ?? []));
            MountPoint.EnsureUsable(request.Directory);
            return request.Foreground || settings.ReadyFileDescriptor is not null
                ? await ServeAsync(request, settings, host, cancellationToken)
                : await Daemon.StartAsync(host, settings.LogFile ?? StateDirectory.Open().LogFileOf(request.Directory));
        });
        return verb;
    }

    private static async Task<int> ServeAsync(Request request, CommandSettings settings, CommandHost host, CancellationToken cancellationToken)
    {
        StateDirectory state = StateDirectory.Create();
        string? logPath = settings.LogFile ?? (request.Foreground ? null : state.LogFileOf(request.Directory));
        using SafeFileHandle? logFile = request.Foreground ? null : Interop.OpenLog(logPath!, truncate: settings.LogFile is null);
        using ILoggerFactory loggers = logFile is null ? Loggers.ForForeground(settings) : Loggers.ForDaemon(settings, logFile);
        ILogger logger = loggers.CreateLogger("LazyMount.Mount");
        try
        {
            // :: Steps 2 to 4: from the reference to the tree.
            await using OpenedImage opened = await host.OpenImageAsync(request.Image, settings, loggers, cancellationToken);

            var prefetched = Prefetch.RangesOf(request.Prefetch, opened);

            // :: Step 5: the mount, and the word that it answers.
            MountPoint.EnsureUsable(request.Directory);
            await using FuseMount mount = FuseMount.Mount(
                request.Directory, opened.FileSystem, request.Options.ToFuse(opened.Image.Reference.ToAbsolute().ToString()), loggers);
            state.Write(new MountRecord
            {
                MountPoint = request.Directory,
                Image = opened.Image.Reference.ToAbsolute().ToString(),
                ManifestDigest = opened.Image.ManifestDescriptor.Digest.ToString(),
                Proof = opened.Proofs.Weakest,
                Layer = settings.Layer?.Find(opened.Image),
                Pid = Environment.ProcessId,
                ProcessStart = MountRecord.StartOf(Environment.ProcessId) ?? 0,
                Since = DateTimeOffset.UtcNow,
                LogFile = logPath,
                CacheDirectory = settings.CacheDirectory,
            });
            try
            {
                logger.Mounted(opened.Image.Reference.ToString(), opened.Image.ManifestDescriptor.Digest.ToString(), opened.Tree.Count, request.Directory);
                logger.Vouched(opened.Image.Reference.ToString(), opened.Proofs.Summary);
                if (settings.ReadyFileDescriptor is int ready)
                {
                    Daemon.Detach(ready, logFile!);
                }

                // :: Steps 6 to 9: the mount's own threads serve until it is gone.
                using var gone = new CancellationTokenSource();
                Task working = WorkAsync(opened, prefetched, logger, gone.Token);
                try
                {
                    await ServeUntilGoneAsync(mount, request.Directory, state, host, logger, cancellationToken);
                }
                finally
                {
                    await gone.CancelAsync();
                    await working;
                }
            }
            finally
            {
                state.Remove(request.Directory, Environment.ProcessId);
            }

            // :: Step 10: disposed in reverse order: mount, layers, source.
            return ExitCode.Done;
        }
        catch (Exception e) when (e is not OperationCanceledException && !request.Foreground)
        {
            // Once the terminal is left nobody sees the message. Before, the sentence is enough for what we expect.
            logger.MountFailed(e, request.Directory);
            if (settings.Verbose || !Failure.IsExpected(e))
            {
                host.Error.WriteLine($"lazymount: the log of this mount is '{logPath}'");
            }
            throw;
        }
    }

    private static string[] PrefetchWords(string[] words)
        => words.Length > 1 && words.Any(word => word is "all" or "none")
            ? throw new UsageException("--prefetch all and --prefetch none stand alone; to fetch a file of that name write ./all or ./none")
            : words;

    // What goes on in the background while the mount serves.
    private static async Task WorkAsync(OpenedImage opened, IReadOnlyList<(Layer Layer, long Offset, long End)> ranges, ILogger logger, CancellationToken cancellationToken)
    {
        try
        {
            if (ranges.Count > 0)
            {
                long fetched = await Task.Run(() => opened.NewPrefetcher().RunAsync(ranges, cancellationToken), cancellationToken);
                logger.Prefetched(fetched);
            }
            await Task.Run(() => opened.VerifyAsync(logger, cancellationToken), cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // Unmounted first.
        }
    }

    private static async Task ServeUntilGoneAsync(
        FuseMount mount, string directory, StateDirectory state, CommandHost host, ILogger logger, CancellationToken cancellationToken)
    {
        // Opening leaves garbage several times the size of the tree; what follows allocates almost nothing, so nothing
        // would ever give it back.
        GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);

        if (!await EndsBeforeAsync(mount.Completion, cancellationToken) && !mount.TryUnmount(lazy: false))
        {
            logger.DetachedWhileBusy(directory);
            mount.TryUnmount(lazy: true);
            if (!await EndsBeforeAsync(mount.Completion, host.Signals?.Again ?? default))
            {
                // Only the end of the process takes the device away from those who still use it.
                state.Remove(directory, Environment.ProcessId);
                Environment.Exit(ExitCode.OfSignal(host.Signals!.Number));
            }
        }
    }

    /// <summary>True when the task ended, false when the token was cancelled first.</summary>
    private static async Task<bool> EndsBeforeAsync(Task task, CancellationToken cancellationToken)
    {
        try
        {
            await task.WaitAsync(cancellationToken);
            return true;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }
}
