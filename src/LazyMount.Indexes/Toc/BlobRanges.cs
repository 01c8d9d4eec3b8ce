using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Indexes.Toc;

/// <summary>Ranges of a blob, a request each, and its last bytes, which are kept once they were asked for.</summary>
internal sealed class BlobRanges(IBlobSource source, Descriptor blob)
{
    private byte[] _tail = [];

    public Descriptor Blob => blob;

    /// <summary>Requests made.</summary>
    public int Requests { get; private set; }

    /// <summary>Bytes asked for.</summary>
    public long Bytes { get; private set; }

    /// <summary>The last bytes of the blob, that many at least unless it has fewer.</summary>
    public async ValueTask<ReadOnlyMemory<byte>> ReadTailAsync(int length, CancellationToken cancellationToken)
    {
        length = (int)Math.Min(length, blob.Size);
        if (_tail.Length < length)
        {
            _tail = await ReadAsync(blob.Size - length, length, cancellationToken).ConfigureAwait(false);
        }
        return _tail;
    }

    /// <summary>A range that lies in the blob; of what is in the tail nothing is asked for again.</summary>
    public async ValueTask<byte[]> ReadAsync(long offset, int length, CancellationToken cancellationToken)
    {
        var bytes = new byte[length];
        await ReadAsync(offset, bytes, cancellationToken).ConfigureAwait(false);
        return bytes;
    }

    /// <summary>As the other overload, into the caller's memory.</summary>
    public async ValueTask ReadAsync(long offset, Memory<byte> bytes, CancellationToken cancellationToken)
    {
        long tailStart = blob.Size - _tail.Length;
        int fromTail = (int)Math.Max(0, offset + bytes.Length - Math.Max(offset, tailStart));
        int asked = bytes.Length - fromTail;
        if (asked > 0)
        {
            Requests++;
            Bytes += asked;
            Stream stream = await source.OpenBlobAsync(blob, offset, asked, cancellationToken).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                await stream.ReadExactlyAsync(bytes[..asked], cancellationToken).ConfigureAwait(false);
            }
        }
        if (fromTail > 0)
        {
            _tail.AsSpan((int)(offset + asked - tailStart), fromTail).CopyTo(bytes.Span[asked..]);
        }
    }
}
