using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>
/// One reader thread's loop with all that it owns: a device file, buffers and the data of the read at hand. Answers
/// from memory on its own thread, without allocating.
/// </summary>
internal sealed class FuseReader(FuseDevice device, ImageFileSystem fileSystem, FuseOperations operations, PendingReads pending, FuseSession session, ILogger logger)
{
    private readonly FileData _data = new();

    /// <summary>Serves until the mount is gone.</summary>
    public void Run()
    {
        using var requests = new NativeBuffer(Negotiation.RequestBufferSize);
        using var replies = new NativeBuffer(Negotiation.ReplyBufferSize);
        device.SpinBeforeWaiting();
        while (true)
        {
            int length = device.Read(requests, out int errno);
            if (length >= 0)
            {
                Serve(requests.Span[..length], replies.Span);
                continue;
            }
            switch (errno)
            {
                case Interop.EINTR:
                case Interop.ENOENT: // the request was interrupted while it was handed out
                    continue;
                case Interop.ENODEV: // unmounted
                case Interop.ECONNABORTED: // aborted
                    return;
                default:
                    logger.DeviceFailed(errno);
                    return;
            }
        }
    }

    private void Serve(ReadOnlySpan<byte> message, Span<byte> reply)
    {
        RequestError error = FuseRequest.Parse(message, out FuseRequest request);
        if (error != RequestError.None)
        {
            logger.MalformedRequest(error == RequestError.HeaderTooShort ? default : request.Opcode, error);
            if (error != RequestError.HeaderTooShort && !RequestShape.IsSilent(request.Opcode))
            {
                device.WriteError(request.Unique, error == RequestError.LengthMismatch ? Errno.EIO : Errno.EINVAL);
            }
            return;
        }

        try
        {
            int refused = Dispatch(request, reply);
            if (FuseSession.IsRefusal(refused))
            {
                logger.ReplyRefused(request.Opcode, request.NodeId, refused);
            }
        }
#pragma warning disable CA1031 // The one converter from exceptions: one bad request must not end the mount.
        catch (Exception cause)
#pragma warning restore CA1031
        {
            logger.RequestFailed(request.Opcode, request.NodeId, cause.Message, cause);
            if (!RequestShape.IsSilent(request.Opcode))
            {
                device.WriteError(request.Unique, Errno.EIO);
            }
        }
    }

    /// <summary>Returns the error number with which the kernel took the reply, or 0.</summary>
    private int Dispatch(in FuseRequest request, Span<byte> reply)
    {
        switch (request.Opcode)
        {
            case FuseOpcode.Read:
                return Read(request);
            case FuseOpcode.Interrupt:
                session.Interrupt(request.InterruptedUnique, request.Unique);
                return 0;
            default:
                int length = operations.Answer(request, reply);
                return length == 0 ? 0 : device.Write(reply[..length]);
        }
    }

    private int Read(in FuseRequest request)
    {
        Errno errno = operations.CheckRead(request);
        if (errno != Errno.None)
        {
            return device.WriteError(request.Unique, errno);
        }
        try
        {
            if (fileSystem.TryRead(request.NodeId, (long)request.Offset, (int)request.Size, _data))
            {
                return device.WriteData(request.Unique, _data);
            }
        }
        finally
        {
            _data.Clear();
        }
        pending.Begin(device, request.Unique, request.NodeId, (long)request.Offset, (int)request.Size);
        return 0;
    }
}
