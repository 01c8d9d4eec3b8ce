using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Output;

/// <summary>The reader of our output has gone away, as in <c>lazymount cat … | head</c>: the command ends without a word.</summary>
internal sealed class BrokenPipeException() : IOException("the reader of the output has closed it");

/// <summary>
/// write(2) on a file descriptor that somebody else closes. Console's own stream will not do: it swallows EPIPE, and it
/// duplicates the descriptor, so that pointing it elsewhere later has no effect. FileStream will not do either: it keeps
/// a position of its own, which is wrong for a file shared with the processes before and after.
/// </summary>
/// <param name="file">The descriptor. Not owned.</param>
/// <param name="name">What failures call it.</param>
/// <param name="cancellationToken">Ends waiting for the reader of a pipe.</param>
internal sealed class StandardStream(SafeFileHandle file, string name = "the output", CancellationToken cancellationToken = default) : Stream
{
    private SafeFileHandle? _writer;

    public StandardStream(int fd, CancellationToken cancellationToken = default)
        : this(new SafeFileHandle(fd, ownsHandle: false), "the output", cancellationToken)
    {
    }

    /// <summary>For messages: when nobody can be told, the exit code must do.</summary>
    public bool DropsWhatFails { get; init; }

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        // Not before something is written: a daemon must not keep the pipe of whoever started it.
        _writer ??= (cancellationToken.CanBeCanceled ? Interop.OpenPipeWithoutWaiting(file) : null) ?? file;
        while (!buffer.IsEmpty)
        {
            nint written = Interop.Write(_writer, buffer, buffer.Length);
            if (written >= 0)
            {
                buffer = buffer[(int)written..];
                continue;
            }
            int errno = Marshal.GetLastPInvokeError();
            switch (errno)
            {
                case Interop.EINTR:
                    break;
                case Interop.EAGAIN:
                    cancellationToken.ThrowIfCancellationRequested();
                    Interop.WaitUntilWritable(_writer);
                    break;
                case int when DropsWhatFails:
                    return;
                case Interop.EPIPE:
                    throw new BrokenPipeException();
                default:
                    throw new IOException($"cannot write {name}: {Marshal.GetPInvokeErrorMessage(errno)}");
            }
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (_writer != file)
        {
            _writer?.Dispose();
        }
        base.Dispose(disposing);
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    public override void WriteByte(byte value) => Write([value]);
    public override void Flush() { }
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
