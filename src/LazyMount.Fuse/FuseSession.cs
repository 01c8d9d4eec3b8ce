using LazyMount.FileSystem;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>
/// Serves one connection to the kernel: a device whose INIT has been answered, by whichever process, and what was
/// negotiated then. Ends when the mount is gone or <see cref="Stop"/> is called.
/// </summary>
#pragma warning disable CA1001 // Disposes of everything by itself when it ends.
internal sealed class FuseSession
#pragma warning restore CA1001
{
    /// <summary>
    /// The kernel wakes every reader for a request, and nothing on them blocks, so more readers would be woken in vain. One epoll instance
    /// for all readers wakes only one, but the reader that is awake already then takes every request: tried and dropped.
    /// </summary>
    private const int MaxThreads = 4;

    private readonly FuseDevice[] _devices;
    private readonly RequestWait _wait;
    private readonly ImageFileSystem _fileSystem;
    private readonly PendingReads _pending;
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _running = 1; // the constructor counts as a reader until all have started
    private volatile bool _hasYielded;

    /// <summary>Starts serving. Takes over the device, also when it throws: the device is then closed, now or soon.</summary>
    /// <exception cref="FuseException">The process has no descriptors left.</exception>
    public FuseSession(FuseDevice device, ImageFileSystem fileSystem, FuseOperations operations, int threads, ILogger logger)
        : this(OpenDevices(device, threads > 0 ? threads : Math.Clamp(Environment.ProcessorCount, 2, MaxThreads), logger), fileSystem, operations, logger)
    {
    }

    /// <summary>Starts serving on all devices of a connection, a thread for each. Takes them over, also when it throws.</summary>
    /// <exception cref="FuseException">The process has no descriptors left.</exception>
    public FuseSession(FuseDevice[] devices, ImageFileSystem fileSystem, FuseOperations operations, ILogger logger)
    {
        // :: Step 9: all that a session needs is a device and what INIT settled.
        _fileSystem = fileSystem;
        _pending = new PendingReads(fileSystem, logger);
        _devices = devices;
        foreach (FuseDevice one in _devices)
        {
            one.StopWaiting();
            one.Counters = fileSystem.Counters;
        }
        try
        {
            _wait = new RequestWait();
        }
        catch
        {
            CloseDevices();
            throw;
        }
        var interrupts = new Interrupts(_devices, _pending);
        try
        {
            for (int i = 0; i < _devices.Length; i++)
            {
                Start(new FuseReader(_devices[i], _wait, fileSystem, operations, _pending, interrupts, logger), $"fuse-{i}");
            }
        }
        catch
        {
            _wait.Stop();
            throw;
        }
        finally
        {
            Left();
        }
    }

    /// <summary>Completes when every thread has left, every pending READ is answered and the device is closed.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Its open files, each once.</summary>
    public IEnumerable<FuseDevice> Devices => _devices.Distinct();

    /// <summary>
    /// Reads no more requests, and ends when those that were read are answered. The connection goes on, if another process has its devices.
    /// </summary>
    public void Yield()
    {
        _hasYielded = true;
        _wait.Stop();
    }

    /// <summary>Another process is to go on with the connection.</summary>
    public bool HasYielded => _hasYielded;

    /// <summary>Reader threads.</summary>
    public int Threads => _devices.Length;

    /// <summary>
    /// Ends the session whoever still uses the mount, wherever it is mounted: with the last device file closed the kernel answers
    /// ENOTCONN to all.
    /// </summary>
    public void Stop() => _wait.Stop();

    /// <summary>
    /// From now on every request is answered EIO, and the kernel forgets everything that was answered before. Returns when it has.
    /// </summary>
    public void Refuse()
    {
        _fileSystem.Refuse();
        // The kernel's pages are locked while a READ of them waits.
        _pending.CancelAll();
        try
        {
            KernelCache.Forget(_devices[0], _fileSystem.Tree);
        }
        catch (ObjectDisposedException)
        {
            // The session has ended meanwhile, and with it the mount.
        }
    }

    internal void ForgetEach() => KernelCache.ForgetEach(_devices[0], _fileSystem.Tree);

    /// <summary>A file of its own for every thread, so that they do not queue for one lock; else one for all.</summary>
    private static FuseDevice[] OpenDevices(FuseDevice device, int threads, ILogger logger)
    {
        var devices = new FuseDevice[threads];
        devices[0] = device;
        for (int i = 1; i < threads; i++)
        {
            FuseDevice? clone = device.TryClone(out int errno);
            if (clone is null)
            {
                logger.CannotClone(errno);
            }
            devices[i] = clone ?? device;
        }
        return devices;
    }

    private void Start(FuseReader reader, string name)
    {
        Interlocked.Increment(ref _running);
        try
        {
            new Thread(() =>
            {
                reader.Run();
                Left();
            })
            { IsBackground = true, Name = name }.Start();
        }
        catch
        {
            Left();
            throw;
        }
    }

    private void Left()
    {
        if (Interlocked.Decrement(ref _running) == 0)
        {
            _ = FinishAsync();
        }
    }

    private async Task FinishAsync()
    {
        await _pending.EndAsync(cancels: !_hasYielded).ConfigureAwait(false);
        CloseDevices();
        _wait.Dispose();
        _completion.SetResult();
    }

    private void CloseDevices() => Array.ForEach(_devices, device => device.Dispose());
}
