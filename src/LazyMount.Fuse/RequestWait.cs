using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// Where the reader threads of a session sleep until the kernel has a request, or until they are to leave. The kernel wakes all of them
/// for a request, so there must not be many.
/// </summary>
internal sealed unsafe class RequestWait : IDisposable
{
    private readonly SafeFileHandle _stop;
    private volatile bool _stopped;

    /// <summary>Throws <see cref="FuseException"/> when the process has no descriptors left.</summary>
    public RequestWait()
    {
        _stop = Interop.EventFd(0, Interop.EFD_CLOEXEC);
        int errno = Marshal.GetLastPInvokeError();
        if (_stop.IsInvalid)
        {
            throw MountFailure.Threads(errno);
        }
    }

    /// <summary>The readers are to leave.</summary>
    public bool IsStopped => _stopped;

    /// <summary>Sleeps until a device may have a request, or until <see cref="Stop"/>.</summary>
    public void Wait(FuseDevice device)
    {
        Interop.PollFd* files = stackalloc Interop.PollFd[2];
        files[0] = new Interop.PollFd { Descriptor = device.Descriptor, Events = Interop.POLLIN };
        files[1] = new Interop.PollFd { Descriptor = (int)_stop.DangerousGetHandle(), Events = Interop.POLLIN };
        // A wait that was interrupted or failed is as good as one that ended: the next read tells.
        _ = Interop.Poll(files, 2, -1);
    }

    /// <summary>Wakes all readers, now and whenever they wait again.</summary>
    public void Stop()
    {
        _stopped = true;
        ulong one = 1;
        try
        {
            _ = Interop.Write(_stop, (byte*)&one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // The last reader has left already.
        }
    }

    /// <summary>No reader waits any more.</summary>
    public void Dispose() => _stop.Dispose();
}
