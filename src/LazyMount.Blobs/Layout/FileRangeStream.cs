using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>A range of a local file. A file that ends early or fails throws <see cref="ImageException"/>.</summary>
/// <param name="file">The file.</param>
/// <param name="subject">What errors call it, such as "The layout's file /a/b".</param>
/// <param name="offset">Where the range begins.</param>
/// <param name="length">Bytes of it.</param>
/// <param name="leaveOpen">False: the stream owns the file.</param>
public sealed class FileRangeStream(SafeFileHandle file, string subject, long offset, long length, bool leaveOpen = false) : Stream
{
    private readonly long _end = offset + length;
    private long _at = offset;

    /// <inheritdoc/>
    public override bool CanRead => true;
    /// <inheritdoc/>
    public override bool CanSeek => false;
    /// <inheritdoc/>
    public override bool CanWrite => false;
    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();
    /// <inheritdoc/>
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        if (buffer.Length > _end - _at)
            buffer = buffer[..(int)(_end - _at)];
        if (buffer.IsEmpty)
            return 0;
        int read;
        try
        {
            read = RandomAccess.Read(file, buffer, _at);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException(ImageError.Local, $"{subject} cannot be read at byte {_at}: {e.Message}", e);
        }
        if (read == 0)
            throw new ImageException(ImageError.Verification, $"{subject} ends at byte {_at}: it is damaged, copy the image again.");
        _at += read;
        return read;
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    // Local reads are not worth a thread switch.
    /// <inheritdoc/>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        => cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<int>(cancellationToken) : new(Read(buffer.Span));

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
        => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();
    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !leaveOpen)
            file.Dispose();
        base.Dispose(disposing);
    }
}
