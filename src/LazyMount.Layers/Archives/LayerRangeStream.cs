using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;

namespace LazyMount.Layers.Archives;

/// <summary>A range of a layer's uncompressed bytes.</summary>
/// <param name="layer">Not owned.</param>
/// <param name="subject">What errors call it, such as "the archive '/a/b.tar.gz'".</param>
/// <param name="offset">Where the range begins.</param>
/// <param name="length">Bytes of it, all of which there must be.</param>
internal sealed class LayerRangeStream(Layer layer, string subject, long offset, long length) : ForwardStream
{
    private readonly long _end = offset + length;
    private long _at = offset;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_at == _end || buffer.IsEmpty)
        {
            return 0;
        }
        SpanLease span;
        try
        {
            span = await layer.GetSpanAsync(_at, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ImageException or InvalidDataException)
        {
            throw new ImageException(
                e is ImageException { Error: var error } ? error : ImageError.Verification,
                $"cannot read {subject} at byte {_at} of its content: it has changed since it was opened, or is damaged; open it again", e);
        }
        try
        {
            int skip = (int)(_at - span.UncompressedOffset);
            int read = (int)Math.Min(Math.Min(buffer.Length, span.Length - skip), _end - _at);
            span.Bytes.Slice(skip, read).CopyTo(buffer.Span);
            _at += read;
            return read;
        }
        finally
        {
            span.Dispose();
        }
    }
}
