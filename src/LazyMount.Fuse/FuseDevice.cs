using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// One open file of /dev/fuse, joined to a connection. A request is answered on the file it was read from: the kernel
/// looks for it nowhere else. Any thread may answer.
/// </summary>
internal sealed unsafe class FuseDevice(SafeFileHandle handle) : IDisposable
{
    private const string Path = "/dev/fuse";

    /// <summary>
    /// Whoever walks a tree asks its next question a few microseconds after the last answer, and waking a sleeping thread
    /// on an idle core takes longer than answering. A first `find` of 114,377 paths on 2 cores: 1.19 s without, 0.90 s with
    /// 30, 0.80 s with 100, 0.85 s with 300 microseconds; `tar` of all of it 8.9 s without, 7.1 s with 100.
    /// </summary>
    private static readonly TimeSpan s_spinTime = TimeSpan.FromMicroseconds(100);

    /// <summary>Opens the device, not yet joined to a mount. Throws <see cref="FuseException"/>.</summary>
    public static FuseDevice Open()
    {
        SafeFileHandle handle = Interop.Open(Path, Interop.O_RDWR | Interop.O_CLOEXEC);
        int errno = Marshal.GetLastPInvokeError();
        return handle.IsInvalid ? throw MountFailure.Device(errno) : new FuseDevice(handle);
    }

    /// <summary>The file descriptor as mount(2) wants it in its options; valid while this object lives.</summary>
    public int Descriptor => (int)handle.DangerousGetHandle();

    /// <summary>Another file on the same connection, with a queue of its own for requests in work; null with the reason when that cannot be.</summary>
    public FuseDevice? TryClone(out int errno)
    {
        SafeFileHandle clone = Interop.Open(Path, Interop.O_RDWR | Interop.O_CLOEXEC);
        errno = Marshal.GetLastPInvokeError();
        if (clone.IsInvalid)
        {
            return null;
        }
        uint original = (uint)Descriptor;
        if (Interop.IoCtl(clone, Interop.FUSE_DEV_IOC_CLONE, &original) < 0)
        {
            errno = Marshal.GetLastPInvokeError();
            clone.Dispose();
            return null;
        }
        errno = 0;
        return new FuseDevice(clone);
    }

    /// <summary>
    /// From now on a reader asks again for <see cref="s_spinTime"/> before it sleeps. Without it, where that cannot be had,
    /// every read sleeps at once.
    /// </summary>
    public void SpinBeforeWaiting()
    {
        uint on = 1;
        _ = Interop.IoCtl(handle, Interop.FIONBIO, &on);
    }

    /// <summary>Waits for one request. Returns its length, or -1 with the error number.</summary>
    public int Read(NativeBuffer buffer, out int errno)
    {
        long began = 0;
        while (true)
        {
            nint length = Interop.Read(handle, buffer.Pointer, (nuint)buffer.Length);
            errno = length < 0 ? Marshal.GetLastPInvokeError() : 0;
            if (errno != Interop.EAGAIN)
            {
                return (int)length;
            }
            if (began == 0)
            {
                began = Stopwatch.GetTimestamp();
            }
            else if (Stopwatch.GetElapsedTime(began) > s_spinTime)
            {
                // An interrupted or failed poll is as good as one that returns: the next read tells.
                var file = new Interop.PollFd { Descriptor = Descriptor, Events = Interop.POLLIN };
                _ = Interop.Poll(&file, 1, -1);
            }
        }
    }

    /// <summary>Writes a whole reply. Returns 0 or the error number.</summary>
    public int Write(ReadOnlySpan<byte> reply)
    {
        fixed (byte* bytes = reply)
        {
            return Interop.Write(handle, bytes, (nuint)reply.Length) < 0 ? Marshal.GetLastPInvokeError() : 0;
        }
    }

    /// <summary>Answers a request with an error alone. Returns 0 or the error number of the write.</summary>
    public int WriteError(ulong unique, Errno error)
    {
        Span<byte> reply = stackalloc byte[FuseReply.HeaderSize];
        return Write(reply[..FuseReply.Error(reply, unique, error)]);
    }

    /// <summary>Answers a READ with the bytes where they lie. Returns 0 or the error number.</summary>
    public int WriteData(ulong unique, FileData data)
    {
        Span<byte> header = stackalloc byte[FuseReply.HeaderSize];
        FuseReply.Header(header, unique, data.Length);
        Interop.IoVec* vectors = stackalloc Interop.IoVec[1 + data.Count]; // FileData.MaxPieces at most
        vectors[0] = new Interop.IoVec { Base = Address(header), Length = (nuint)header.Length };
        for (int i = 0; i < data.Count; i++)
        {
            // FileData holds its spans in memory that does not move, so these addresses stay good until it is cleared.
            ReadOnlySpan<byte> piece = data[i];
            vectors[i + 1] = new Interop.IoVec { Base = Address(piece), Length = (nuint)piece.Length };
        }
        return Interop.WriteV(handle, vectors, data.Count + 1) < 0 ? Marshal.GetLastPInvokeError() : 0;
    }

    public void Dispose() => handle.Dispose();

    private static void* Address(ReadOnlySpan<byte> bytes) => Unsafe.AsPointer(ref MemoryMarshal.GetReference(bytes));
}
