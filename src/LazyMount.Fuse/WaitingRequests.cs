using LazyMount.Blobs.Counting;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// The requests of a mount that no process can serve now: whoever asks waits, and is given EIO when it has waited long enough. Those that are
/// not answered are sent again to the process that goes on with the mount (<see cref="FuseMount.Resume"/>).
/// </summary>
public sealed class WaitingRequests : IDisposable
{
    private readonly FuseDevice _device;
    private readonly NativeBuffer _buffer = new(Negotiation.RequestBufferSize);
    private readonly List<ulong> _taken = []; // as the kernel knows them

    /// <param name="device">An open file of the mount's connection. Not owned.</param>
    /// <param name="counters">Where those are counted that get EIO.</param>
    public WaitingRequests(SafeFileHandle device, ServingCounters counters)
    {
        ArgumentNullException.ThrowIfNull(device);
        _device = new FuseDevice(new SafeFileHandle(device.DangerousGetHandle(), ownsHandle: false)) { Counters = counters };
        _device.StopWaiting();
        _ = _device.AskToSendAgain(); // else only what is asked from now on is seen
    }

    /// <summary>Takes all requests that wait now. False when the mount is gone.</summary>
    public bool TryTake()
    {
        while (true)
        {
            int length = _device.Read(_buffer, out int errno);
            if (length < 0)
            {
                if (errno is Interop.EINTR or Interop.ENOENT)
                {
                    continue;
                }
                return errno == Interop.EAGAIN;
            }
            if (FuseRequest.Parse(_buffer.Span[..length], out FuseRequest request) != RequestError.HeaderTooShort && !RequestShape.IsSilent(request.Opcode) && request.Opcode != FuseOpcode.Interrupt)
            {
                _taken.Add(request.Unique);
            }
        }
    }

    /// <summary>Answers EIO to all that were taken.</summary>
    public void Refuse()
    {
        foreach (ulong unique in _taken)
        {
            _ = _device.Answer(unique, Errno.EIO);
        }
        _taken.Clear();
    }

    /// <summary>Waits until there is a request to take, or the mount is gone; at most for <paramref name="limit"/>, and then returns false.</summary>
    public unsafe bool Wait(TimeSpan limit)
    {
        var file = new Interop.PollFd { Descriptor = _device.Descriptor, Events = Interop.POLLIN };
        return Interop.Poll(&file, 1, (int)limit.TotalMilliseconds) > 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _buffer.Dispose();
        _device.Dispose();
    }
}
