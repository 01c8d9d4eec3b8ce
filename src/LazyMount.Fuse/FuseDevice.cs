using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Counting;
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
    public const string Path = "/dev/fuse";

    /// <summary>Opens the device, not yet joined to a mount. Throws <see cref="FuseException"/>.</summary>
    public static FuseDevice Open()
    {
        SafeFileHandle handle = Interop.Open(Path, Interop.O_RDWR | Interop.O_CLOEXEC);
        int errno = Marshal.GetLastPInvokeError();
        return handle.IsInvalid ? throw MountFailure.Device(errno) : new FuseDevice(handle);
    }

    /// <summary>The open file. Owned by this object.</summary>
    public SafeFileHandle Handle => handle;

    /// <summary>Where requests are noted that the kernel sends again; null where nobody takes over from this process.</summary>
    public RequestLedger? Ledger { get; set; }

    /// <summary>Where answers are counted; null before a session serves.</summary>
    public ServingCounters? Counters { get; set; }

    /// <summary>The file descriptor as mount(2) wants it in its options; valid while this object lives.</summary>
    public int Descriptor => (int)handle.DangerousGetHandle();

    /// <summary>
    /// Device number (major:minor) of the file system that is mounted with this device, as mountinfo shows it. Null where the kernel
    /// does not tell (before Linux 6.17), and before the mount.
    /// </summary>
    public string? FileSystemNumber()
    {
        const string Label = "fuse_connection:";
        foreach (string line in File.ReadLines(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fdinfo/{Descriptor}")))
        {
            if (line.StartsWith(Label, StringComparison.Ordinal))
            {
                return $"0:{line[Label.Length..].Trim()}"; // FUSE has no block device, so the major number is 0
            }
        }
        return null;
    }

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

    /// <summary>From now on <see cref="Read"/> returns EAGAIN instead of waiting for a request.</summary>
    public void StopWaiting()
    {
        uint on = 1;
        _ = Interop.IoCtl(handle, Interop.FIONBIO, &on);
    }

    /// <summary>
    /// Has the kernel send again all requests of the connection that were read and not answered. Whoever reads from then on gets them. Returns 0 or
    /// the error number.
    /// </summary>
    public int AskToSendAgain()
    {
        Span<byte> message = stackalloc byte[FuseNotification.MaxLength];
        return Write(message[..FuseNotification.Resend(message)]);
    }

    /// <summary>Reads one request. Returns its length, or -1 with the error number.</summary>
    public int Read(NativeBuffer buffer, out int errno)
    {
        nint length = Interop.Read(handle, buffer.Pointer, (nuint)buffer.Length);
        errno = length < 0 ? Marshal.GetLastPInvokeError() : 0;
        return (int)length;
    }

    /// <summary>Writes a whole reply. Returns 0 or the error number.</summary>
    public int Write(ReadOnlySpan<byte> reply)
    {
        fixed (byte* bytes = reply)
        {
            return Interop.Write(handle, bytes, (nuint)reply.Length) < 0 ? Marshal.GetLastPInvokeError() : 0;
        }
    }

    /// <summary>
    /// Answers a request with a whole reply. When the kernel refuses it, answers EIO instead, so that nobody waits for ever. Returns
    /// the error number of the refusal, 0 when there was none or the reply came too late: the request was interrupted, or the mount
    /// is gone.
    /// </summary>
    public int Answer(ulong unique, ReadOnlySpan<byte> reply) => OrError(unique, Write(reply));

    /// <summary>Answers a request with an error alone; as <see cref="Answer(ulong, ReadOnlySpan{byte})"/>.</summary>
    public int Answer(ulong unique, Errno error)
    {
        if (error == Errno.EIO)
        {
            Counters?.Add(Counter.FailedRequests);
        }
        return OrError(unique, WriteError(unique, error));
    }

    /// <summary>Answers a READ with the bytes where they lie; as <see cref="Answer(ulong, ReadOnlySpan{byte})"/>.</summary>
    public int Answer(ulong unique, FileData data)
    {
        Counters?.Add(Counter.ServedBytes, data.Length); // before: whoever has read sees it counted
        return OrError(unique, WriteData(unique, data));
    }

    /// <summary>Answers a request with an error alone. Returns 0 or the error number of the write.</summary>
    public int WriteError(ulong unique, Errno error)
    {
        Span<byte> reply = stackalloc byte[FuseReply.HeaderSize];
        return Write(reply[..FuseReply.Error(reply, unique, error)]);
    }

    public void Dispose() => handle.Dispose();

    private int WriteData(ulong unique, FileData data)
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

    private int OrError(ulong unique, int errno)
    {
        if (errno == 0)
        {
            Ledger?.Answered(unique);
        }
        if (errno is 0 or Interop.ENOENT or Interop.ENODEV or Interop.ECONNABORTED)
        {
            return 0;
        }
        // ENOENT here: the kernel has ended the request itself when it refused the reply.
        _ = WriteError(unique, Errno.EIO);
        return errno;
    }

    private static void* Address(ReadOnlySpan<byte> bytes) => Unsafe.AsPointer(ref MemoryMarshal.GetReference(bytes));
}
