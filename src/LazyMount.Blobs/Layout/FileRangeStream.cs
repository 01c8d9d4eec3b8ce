using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>A range of a local file, which it owns. A file that ends early or fails throws <see cref="ImageException"/>.</summary>
internal sealed class FileRangeStream(SafeFileHandle file, string path, long offset, long length) : Stream
{
    private readonly long _end = offset + length;
    private long _at = offset;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

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
            throw new ImageException(ImageError.Local, $"The layout's file {path} cannot be read at byte {_at}: {e.Message}", e);
        }
        if (read == 0)
            throw new ImageException(ImageError.Verification, $"The layout's file {path} ends at byte {_at}: the layout is damaged, copy the image again.");
        _at += read;
        return read;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    // Local reads are not worth a thread switch.
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        => cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<int>(cancellationToken) : new(Read(buffer.Span));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
        => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            file.Dispose();
        base.Dispose(disposing);
    }
}
