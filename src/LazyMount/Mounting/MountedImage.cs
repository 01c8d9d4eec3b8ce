using System.Runtime;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Files;
using LazyMount.FileSystem;
using LazyMount.Fuse;
using LazyMount.Images;
using LazyMount.Keeping;
using LazyMount.Layers;
using LazyMount.Output;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// An image that is mounted and recorded, with the work that goes on in the background for it. Owns all of it and disposes it in reverse
/// order: the mount, the record, the layers, the source.
/// </summary>
internal sealed class MountedImage : IAsyncDisposable
{
    /// <summary>How long programs may go on with what they have open when there is nothing that could be unmounted.</summary>
    private static readonly TimeSpan s_usersLeave = TimeSpan.FromSeconds(5);

    /// <summary>Everything is over then: whatever still waits when the mount is gone (a disk, a network) is left behind.</summary>
    private static readonly TimeSpan s_everythingEnds = TimeSpan.FromSeconds(20);

    /// <summary>How long a process that is replaced finishes the requests that it has read.</summary>
    private static readonly TimeSpan s_answersCome = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan s_stacksUnwind = TimeSpan.FromMilliseconds(200);

    // Array pools let go of what was not used for a minute, and only in a collection: the second one does it.
    private static readonly TimeSpan s_poolsAreTrimmed = TimeSpan.FromSeconds(65);

    private readonly OpenedImage? _opened; // null: there is no need of it any more, and everything is answered EIO
    private readonly FuseMount _mount;
    private readonly HeldRecord? _record; // null: it could not be written
    private readonly MountCounting _counting;
    private readonly StatusWriter? _status;
    private readonly CommandHost _host;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _gone = new();
    private readonly Task _working;
    private Timer? _watchdog;

    private MountedImage(
        OpenedImage? opened, FuseMount mount, HeldRecord? record, IReadOnlyList<(Layer Layer, long Offset, long End)> prefetched, MountCounting counting, CommandHost host, ILogger logger)
    {
        (_opened, _mount, _record, _counting, _host, _logger) = (opened, mount, record, counting, host, logger);
        _status = record is null ? null : new StatusWriter(record.StatusPath, counting.Counters);
        counting.Serve();
        _working = opened is null ? Task.CompletedTask : WorkAsync(opened, prefetched);
        if (_host.Keeper is { } keeper)
        {
            keeper.OnYield = Yield;
        }
    }

    /// <summary>Another process goes on with the mount.</summary>
    public bool GoesOn => _mount.HasYielded;

    /// <summary>Opens an image, mounts it and writes the record. Returns when the mount is ready. When it fails nothing stays mounted.</summary>
    /// <param name="request">What to mount.</param>
    /// <param name="target">Where to mount it. Not needed any more afterwards.</param>
    /// <param name="settings">The common options.</param>
    /// <param name="logPath">The log file for the record, or null.</param>
    /// <param name="host">Where progress and notes go; its signals end the mount.</param>
    /// <param name="loggers">Where events go.</param>
    /// <param name="cancellationToken">Ends the opening.</param>
    public static async Task<MountedImage> StartAsync(
        MountRequest request, MountDirectory target, CommandSettings settings, string? logPath, CommandHost host, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        ILogger logger = loggers.CreateLogger("LazyMount.Mount");
        string? whyFuse = request.WhyFuse ?? ErofsFace.WhyNot();
        if (whyFuse is not null && request.Face == MountFace.Erofs)
        {
            throw new CommandException($"cannot mount as EROFS: {whyFuse}; mount with --as fuse");
        }
        StateDirectory? state = StateDirectory.TryCreate(host.Note);
        MountCounting counting = MountCounting.Start(request.Metrics);
        settings = settings with { Counters = counting.Counters };
        OpenedImage? opened = null;
        FuseMount? mount = null;
        HeldRecord? record = null;
        try
        {
            opened = await host.OpenImageAsync(request.Image, settings, loggers, cancellationToken);
            var prefetched = Prefetch.RangesOf(request.Prefetch, opened);
            string image = opened.Image.Reference.ToAbsolute().ToString(), digest = opened.Image.ManifestDescriptor.Digest.ToString();

            // :: Step 5: the mount, and its record.
            mount = whyFuse is null ? TryMountErofs(request, target, opened, image, host.Keeper?.Keeper, loggers, logger) : null;
            mount ??= FuseMount.Mount(target, request.View == MountView.ImageFile ? opened.OpenImageFile() : opened.FileSystem, request.Options.ToFuse(image), loggers);
            record = state?.TryWrite(new MountRecord
            {
                MountPoint = mount.Directory,
                Device = mount.Device,
                Face = MountArguments.NameOf(mount.Face),
                Image = image,
                ManifestDigest = digest,
                Proof = opened.Proofs.Weakest,
                Layer = settings.Layer?.Find(opened.Image),
                View = request.View == MountView.Tree ? null : MountArguments.NameOf(request.View),
                Pid = host.Keeper?.Keeper.Pid ?? Environment.ProcessId,
                Worker = Environment.ProcessId,
                SurvivesCrashes = host.Keeper is not null && mount.Held.SendsAgain,
                Since = DateTimeOffset.UtcNow,
                LogFile = logPath,
                Metrics = request.Metrics?.ToString(),
                CacheDirectory = settings.CacheDirectory,
            }, host.Note);
            if (host.Keeper is { } keeper)
            {
                await HoldAsync(keeper, mount, record, opened, counting, cancellationToken);
            }
            if (whyFuse is not null && request.Face is null)
            {
                logger.ShownByFuse(whyFuse);
            }
            logger.Mounted(opened.Image.Reference.ToString(), digest, opened.Tree.Count, mount.Directory);
            logger.Vouched(opened.Image.Reference.ToString(), opened.Proofs.Summary);
            return new MountedImage(opened, mount, record, prefetched, counting, host, logger);
        }
        catch
        {
            counting.End();
            if (mount is not null)
            {
                await mount.DisposeAsync();
            }
            record?.Remove();
            if (opened is not null)
            {
                await opened.DisposeAsync();
            }
            throw;
        }
    }

    /// <summary>
    /// Opens the image of a mount that another process served, and goes on serving it. Returns when requests are answered again. What those who use
    /// the mount know of it stays true: when the image cannot be shown as it was, they get errors.
    /// </summary>
    /// <param name="request">What was mounted.</param>
    /// <param name="settings">The common options.</param>
    /// <param name="keeper">Holds what the other process left.</param>
    /// <param name="host">Its signals end the mount.</param>
    /// <param name="loggers">Where events go.</param>
    /// <param name="cancellationToken">Ends the opening.</param>
    /// <exception cref="CommandException">The process is to replace one that lives, and cannot: that one goes on.</exception>
    public static async Task<MountedImage> ResumeAsync(
        MountRequest request, CommandSettings settings, KeeperLink keeper, CommandHost host, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        ILogger logger = loggers.CreateLogger("LazyMount.Mount");
        if (keeper.IsAfterDeath)
        {
            logger.WorkerDied(keeper.Reason!["death ".Length..]);
        }
        HeldState held = HeldState.Read(keeper.FileOf(HeldFiles.State)!);
        MountCounting counting = MountCounting.Resume(request.Metrics, keeper);
        settings = settings with { Counters = counting.Counters };
        OpeningOptions options = settings.ToOpening() with
        {
            Root = held.Root,
            FromTables = held.FromTables.Select(text => Digest.TryParse(text, out Digest layer) ? layer : throw new InvalidDataException($"'{text}' is no digest")).ToHashSet(),
        };
        OpenedImage? opened = keeper.IsAfterDeath ? await new Reopening(OpenAsync, options.Registries.ReadTimeout, keeper, held.Mount, counting.Counters, logger).RunAsync(cancellationToken) : await OpenAsync(cancellationToken);
        try
        {
            ImageFileSystem served = opened is null ? ImageFileSystem.OfNothing(counting.Counters, loggers.CreateLogger<ImageFileSystem>())
                : held.Mount.ErofsSource is not null || request.View == MountView.ImageFile ? opened.OpenImageFile() : opened.FileSystem;
            if (opened is not null && (opened.Image.ManifestDescriptor.Digest != held.Manifest || opened.Tree.Digest != held.Tree))
            {
                if (!keeper.IsAfterDeath)
                {
                    throw new CommandException($"cannot restart the mount on '{held.Mount.Directory}': this program shows another tree of the image; unmount the image, and mount it again");
                }
                logger.TreeDiffers(opened.Image.Reference.ToString(), held.Mount.Directory);
                served.Refuse();
            }
            if (!keeper.TakeTurn() && !keeper.IsAfterDeath)
            {
                throw new CommandException($"cannot restart the mount on '{held.Mount.Directory}': its keeper has ended; unmount the image, and mount it again");
            }
            SafeFileHandle[] devices = [.. keeper.Held.Where(file => file.Role == HeldFiles.Device).Select(file => file.File)];
            RequestLedger? ledger = keeper.FileOf(HeldFiles.Ledger) is { } memory ? RequestLedger.TryOpen(memory, keeper.IsAfterDeath) : null;
            FuseMount mount = FuseMount.Resume(held.Mount, devices, served, request.Options.ToFuse(request.Image.ToAbsolute().ToString()), ledger, loggers);
            HeldRecord? record = null;
            if (keeper.FileOf(HeldFiles.Record) is { } file)
            {
                StoredRecord.Change(file, record => record with { Worker = Environment.ProcessId, Restarts = record.Restarts + 1, RestartError = null, Trouble = null });
                record = StateDirectory.Open().Inherit(file);
            }
            counting.Counters.Add(keeper.IsAfterDeath ? Counter.DeathRestarts : Counter.WantedRestarts);
            return new MountedImage(opened, mount, record, opened is null ? [] : Prefetch.RangesOf(request.Prefetch, opened), counting, host, logger);
        }
        catch
        {
            if (opened is not null)
            {
                await opened.DisposeAsync();
            }
            throw;
        }

        // The image owns the archive, also when it cannot be opened.
        Task<OpenedImage> OpenAsync(CancellationToken token)
        {
            SafeFileHandle? archive = keeper.FileOf(HeldFiles.Archive) is { } file ? new SafeFileHandle(FileCalls.Duplicate((int)file.DangerousGetHandle()), ownsHandle: true) : null;
            return OpenedImage.OpenAsync(request.Image, options with { Archive = archive }, OpeningObserver.None, loggers, token);
        }
    }

    // Gives the keeper what another process needs to go on with the mount.
    private static async Task HoldAsync(KeeperLink keeper, FuseMount mount, HeldRecord? record, OpenedImage opened, MountCounting counting, CancellationToken cancellationToken)
    {
        using SafeFileHandle state = (await HeldState.OfAsync(mount, opened, cancellationToken)).ToMemory();
        using SafeFileHandle requests = Interop.MemoryFile("lazymount-requests", new byte[RequestLedger.Size]);
        List<(string, SafeFileHandle)> files = [(HeldFiles.State, state), (HeldFiles.Ledger, requests), .. counting.Held, .. mount.Devices.Select(device => (HeldFiles.Device, device))];
        mount.Ledger = RequestLedger.TryOpen(requests, afterDeath: false);
        if (record is not null)
        {
            files.Add((HeldFiles.Record, record.File));
        }
        if (opened.Image.Source.Archive is { } archive)
        {
            files.Add((HeldFiles.Archive, archive));
        }
        if (!mount.Held.SendsAgain)
        {
            files.Add((HeldFiles.NoResend, state));
        }
        keeper.Hold(files);
    }

    // A successor is ready: it gets what is not answered soon. Where the kernel cannot send again, everything is answered first.
    private void Yield()
    {
        _counting.Pause();
        _mount.Yield();
        if (_mount.Held.SendsAgain)
        {
            _watchdog ??= new Timer(_ => Environment.Exit(ExitCode.Done), null, s_answersCome, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Mounts by the kernel's EROFS; null, with the reason in the log, when that cannot be and FUSE will do.</summary>
    private static FuseMount? TryMountErofs(MountRequest request, MountDirectory target, OpenedImage opened, string image, ServingProcess? server, ILoggerFactory loggers, ILogger logger)
    {
        try
        {
            return FuseMount.MountErofs(target, opened.OpenImageFile(), request.Options.ToFuse(image) with { Server = server }, loggers);
        }
        catch (Exception e) when (request.Face is null && e is ImageException or FuseException { IsWithoutErofs: true })
        {
            logger.ShownByFuse(e.InnerException is InvalidDataException clause ? clause.Message : e.Message);
            return null;
        }
        catch (ImageException e) when (e.InnerException is InvalidDataException clause)
        {
            throw new CommandException($"cannot mount '{opened.Image.Reference}' as EROFS: {clause.Message}; mount with --as fuse", inner: e);
        }
    }

    /// <summary>
    /// Returns the exit code when the mount is gone. A first signal unmounts; programs that use the mount may go on until they have ended,
    /// or until the second signal.
    /// </summary>
    /// <param name="cancellationToken">The first signal.</param>
    public async Task<int> ServeAsync(CancellationToken cancellationToken)
    {
        // Opening leaves garbage several times the size of the tree; what follows allocates almost nothing, so nothing would ever give it
        // back. A moment later, because this stack may have begun where the indexes came, and holds them until it has unwound: 1,000,000
        // files left 212 MB otherwise.
        await Task.Delay(s_stacksUnwind, CancellationToken.None);
        await using var again = new Timer(static _ => GiveBackMemory(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        GiveBack();
        _opened?.WhenIdle(GiveBack);

        bool hasEnded = await EndsBeforeAsync(_mount.Completion, cancellationToken);
        if (!GoesOn)
        {
            _host.Keeper?.Notify("STOPPING=1");
        }
        if (hasEnded)
        {
            return ExitCode.Done;
        }
        bool wasMounted = _mount.IsMounted;
        try
        {
            if (!_mount.TryUnmount(lazy: false))
            {
                _logger.DetachedWhileBusy(_mount.Directory);
                _mount.TryUnmount(lazy: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _logger.CannotUnmount(_mount.Directory, e.Message);
        }
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_host.Signals?.Again ?? default);
        if (!wasMounted || _mount.IsMounted)
        {
            // It was unmounted here before, so that the signal was meant for those who still use it; or another mount covers it.
            patience.CancelAfter(s_usersLeave);
        }
        if (await EndsBeforeAsync(_mount.Completion, patience.Token))
        {
            return ExitCode.Done;
        }
        _logger.EndedWhileInUse(_mount.Directory);
        return ExitCode.OfSignal(_host.Signals?.Number ?? 0);

        void GiveBack()
        {
            GiveBackMemory();
            again.Change(s_poolsAreTrimmed, Timeout.InfiniteTimeSpan);
        }
    }

    // Of the collector's heap, and of malloc's: what many threads have freed there stays theirs otherwise.
    private static void GiveBackMemory()
    {
        GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        Interop.TrimHeap();
    }

    /// <summary>Unmounts, also when the mount is in use, and releases everything below it.</summary>
    public async ValueTask DisposeAsync()
    {
        // :: Step 10: in reverse order: the mount, the record, the layers, the source.
        StartWatchdog();
        await _gone.CancelAsync();
        if (GoesOn)
        {
            await _working;
            _status?.Dispose();
            await CloseAsync();
            return;
        }
        _host.Keeper?.End();
        await _mount.DisposeAsync();
        await _working;
        _counting.End();
        _status?.Dispose();
        _record?.Remove();
        await CloseAsync();
        _gone.Dispose();
        await _watchdog!.DisposeAsync();
    }

    private ValueTask CloseAsync() => _opened?.DisposeAsync() ?? ValueTask.CompletedTask;

    private void StartWatchdog() => _watchdog ??= new Timer(_ =>
    {
        _logger.EndedAtOnce(_mount.Directory);
        Environment.Exit(ExitCode.Failed);
    }, null, s_everythingEnds, Timeout.InfiniteTimeSpan);

    // What goes on in the background while the mount serves. One thing that fails does not stop the next.
    private async Task WorkAsync(OpenedImage opened, IReadOnlyList<(Layer Layer, long Offset, long End)> ranges)
    {
        if (ranges.Count > 0)
        {
            await WorkAsync("the prefetch", async () => _logger.Prefetched(await opened.NewPrefetcher().RunAsync(ranges, _gone.Token)));
        }
        await WorkAsync("--verify-full", async () =>
        {
            if (await opened.FindLieAsync(_logger, _gone.Token) is { } lie)
            {
                _logger.ReadsRefused(opened.Image.Reference.ToString(), lie);
                _mount.Refuse();
            }
        });
    }

    private async Task WorkAsync(string name, Func<Task> work)
    {
        try
        {
            await Task.Run(work, _gone.Token);
        }
        catch (OperationCanceledException) when (_gone.IsCancellationRequested)
        {
            // Unmounted first.
        }
#pragma warning disable CA1031 // Nobody waits for it but the end of the mount: what goes wrong is said here and now.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _logger.WorkFailed(e, name, e.Message);
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
