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

    /// <param name="held">The mount.</param>
    /// <param name="device">An open file of its connection. Not owned.</param>
    public WaitingRequests(HeldMount held, SafeFileHandle device)
    {
        ArgumentNullException.ThrowIfNull(held);
        ArgumentNullException.ThrowIfNull(device);
        _device = new FuseDevice(new SafeFileHandle(device.DangerousGetHandle(), ownsHandle: false));
        _device.StopWaiting();
        Span<byte> message = stackalloc byte[FuseNotification.MaxLength];
        _ = _device.Write(message[..FuseNotification.Resend(message)]); // else only what is asked from now on is seen
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

    /// <summary>Answers EIO to all that were taken. Returns how many.</summary>
    public int Refuse()
    {
        int count = _taken.Count;
        foreach (ulong unique in _taken)
        {
            _ = _device.Answer(unique, Errno.EIO);
        }
        _taken.Clear();
        return count;
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
