using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>
/// Serves one connection to the kernel: a device whose INIT has been answered, by whichever process, and what was
/// negotiated then. Ends when the mount is gone.
/// </summary>
#pragma warning disable CA1001 // Disposes of everything by itself when the mount is gone.
internal sealed class FuseSession
#pragma warning restore CA1001
{
    private readonly FuseDevice[] _devices;
    private readonly PendingReads _pending;
    private readonly ILogger _logger;
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _running;

    /// <summary>Starts serving. Takes over the device.</summary>
    public FuseSession(FuseDevice device, Negotiated negotiated, ImageFileSystem fileSystem, FuseMountOptions options, ILogger logger)
    {
        _logger = logger;
        _pending = new PendingReads(fileSystem, logger);
        _devices = OpenDevices(device, options.Threads > 0 ? options.Threads : Math.Max(2, Environment.ProcessorCount));
        _running = _devices.Length;
        var operations = new FuseOperations(fileSystem.Tree, negotiated, options.Uid, options.Gid);
        for (int i = 0; i < _devices.Length; i++)
        {
            var reader = new FuseReader(_devices[i], fileSystem, operations, _pending, this, logger);
            new Thread(() => RunReader(reader)) { IsBackground = true, Name = $"fuse-{i}" }.Start();
        }
    }

    /// <summary>Completes when every thread has left, every pending READ is answered and the device is closed.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Reader threads.</summary>
    public int Threads => _devices.Length;

    /// <summary>False for success and for replies that came too late: the request was interrupted, or the mount is gone.</summary>
    public static bool IsRefusal(int errno) => errno is not (0 or Interop.ENOENT or Interop.ENODEV or Interop.ECONNABORTED);

    /// <summary>Interrupts a READ that waits.</summary>
    /// <param name="unique">The READ.</param>
    /// <param name="interruptUnique">The INTERRUPT itself.</param>
    public void Interrupt(ulong unique, ulong interruptUnique)
    {
        if (_pending.TryInterrupt(unique))
        {
            return; // the READ's own answer is all that the kernel wants
        }
        // Another thread may be about to answer the request, or to make it pending. EAGAIN has the kernel send the
        // INTERRUPT again if the request is still in work; it knows on which device only, so all are tried.
        foreach (FuseDevice device in _devices)
        {
            if (device.WriteError(interruptUnique, Errno.EAGAIN) == 0)
            {
                return;
            }
        }
    }

    /// <summary>A file of its own for every thread, so that they do not queue for one lock; else one for all.</summary>
    private FuseDevice[] OpenDevices(FuseDevice device, int threads)
    {
        var devices = new FuseDevice[threads];
        devices[0] = device;
        for (int i = 1; i < threads; i++)
        {
            FuseDevice? clone = device.TryClone(out int errno);
            if (clone is null)
            {
                _logger.CannotClone(errno);
            }
            devices[i] = clone ?? device;
        }
        return devices;
    }

    private void RunReader(FuseReader reader)
    {
        reader.Run();
        if (Interlocked.Decrement(ref _running) == 0)
        {
            _ = FinishAsync();
        }
    }

    private async Task FinishAsync()
    {
        await _pending.DisposeAsync().ConfigureAwait(false);
        foreach (FuseDevice device in _devices)
        {
            device.Dispose();
        }
        _completion.SetResult();
    }
}
