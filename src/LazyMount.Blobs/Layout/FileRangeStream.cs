using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>A range of a local file. A file that ends early or fails throws <see cref="ImageException"/>.</summary>
/// <param name="file">The file.</param>
/// <param name="subject">What errors call it, such as "the layout's file '/a/b'".</param>
/// <param name="offset">Where the range begins.</param>
/// <param name="length">Bytes of it.</param>
/// <param name="leaveOpen">False: the stream owns the file.</param>
public sealed class FileRangeStream(SafeFileHandle file, string subject, long offset, long length, bool leaveOpen = false) : ForwardStream
{
    private readonly long _end = offset + length;
    private long _at = offset;

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
            throw new ImageException(ImageError.Local, $"cannot read {subject} at byte {_at}: {FileProblem.Reason(e)}", e);
        }
        if (read == 0)
            throw new ImageException(ImageError.Verification, $"cannot read {subject}: it ends at byte {_at}; copy the image again");
        _at += read;
        return read;
    }

    // Local reads are not worth a thread switch.
    /// <inheritdoc/>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        => cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<int>(cancellationToken) : new(Read(buffer.Span));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !leaveOpen)
            file.Dispose();
        base.Dispose(disposing);
    }
}
