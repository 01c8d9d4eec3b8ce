namespace LazyMount.Compression;

/// <summary>
/// Decodes one compressed stream that arrives in pieces, and records checkpoints as it goes.
/// <code>
/// foreach (piece of the blob) { decompressor.Push(piece); while (decompressor.TryRead(out var run)) Use(run); }
/// decompressor.Complete();
/// </code>
/// Not thread-safe. Malformed input throws <see cref="InvalidDataException"/>, whatever it is; nothing is ever
/// read or written out of bounds. <see cref="NotSupportedException"/> is thrown for what is sound but needs more memory than
/// is given, or something that is not there (a dictionary, a filter). After either exception no more bytes come out.
/// </summary>
public abstract class Decompressor : IDisposable
{
    /// <summary>
    /// The distance between checkpoints in uncompressed bytes that layers are indexed with. Of the benchmark image, with 1, 2 and
    /// 4 MiB: indexes of 1.01, 0.64 and 0.45 % of the layers; 2,000 random files fetch 60, 79 and 106 MB, and when all is in the cache
    /// they are read in 6.8, 7.5 and 11.8 s (one run on a busy machine); a first file of an image whose index is published takes
    /// 3.7, 3.0 and 3.2 MB in all.
    /// </summary>
    public const int DefaultCheckpointSpacing = 2 << 20;

    private static readonly Checkpoint s_start = new(0, 0, 0, AtMemberStart: true, default);

    /// <summary>Tells the format from the first bytes of a blob (6 are enough). Unknown bytes are <see cref="CompressionFormat.None"/>.</summary>
    public static CompressionFormat Detect(ReadOnlySpan<byte> head)
        => GzipHeader.HasMagic(head) ? CompressionFormat.Gzip
            : ZstdFrameHeader.HasMagic(head) ? CompressionFormat.Zstd
            : Bzip2Decoder.HasMagic(head) ? CompressionFormat.Bzip2
            : XzDecoder.HasMagic(head) ? CompressionFormat.Xz
            : CompressionFormat.None;

    /// <summary>Starts at the first byte of a blob.</summary>
    /// <param name="format">The blob's format.</param>
    /// <param name="checkpointSpacing">
    /// A checkpoint is taken at the first possible place at least this many uncompressed bytes after the last; 0 takes none.
    /// In gzip a spacing below the size of a window (32 KiB) counts as 32 KiB. zstd has such places at the starts of frames;
    /// bzip2 and xz get one at 0 only.
    /// </param>
    public static Decompressor Start(CompressionFormat format, long checkpointSpacing = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(checkpointSpacing);
        return format switch
        {
            CompressionFormat.None => new PlainDecompressor(0, checkpointSpacing),
            CompressionFormat.Gzip => new GzipDecompressor(checkpointSpacing),
            CompressionFormat.Zstd => new ZstdDecompressor(checkpointSpacing),
            CompressionFormat.Bzip2 => new PullDecompressor("bzip2", input => new Bzip2Decoder(input)),
            CompressionFormat.Xz => new PullDecompressor("xz", input => new XzDecoder(input)),
            _ => throw new ArgumentOutOfRangeException(nameof(format), format, null),
        };
    }

    /// <summary>Starts at a checkpoint; the first byte pushed must be the one at its compressed offset.</summary>
    public static Decompressor Resume(CompressionFormat format, in Checkpoint from)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(from.CompressedOffset, nameof(from));
        ArgumentOutOfRangeException.ThrowIfNegative(from.UncompressedOffset, nameof(from));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(from.Bit, 7, nameof(from));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(from.Window.Length, Inflater.WindowSize, nameof(from));
        if (from.AtMemberStart && (from.Bit != 0 || !from.Window.IsEmpty))
            throw new ArgumentException("A checkpoint at a member's start has neither bit nor window.", nameof(from));
        return format switch
        {
            CompressionFormat.None when from.AtMemberStart && from.CompressedOffset == from.UncompressedOffset
                => new PlainDecompressor(from.CompressedOffset, 0),
            CompressionFormat.None => throw new ArgumentException("The checkpoint is not one of an uncompressed blob.", nameof(from)),
            CompressionFormat.Gzip => new GzipDecompressor(from),
            CompressionFormat.Zstd when from.AtMemberStart => new ZstdDecompressor(from),
            CompressionFormat.Bzip2 or CompressionFormat.Xz when from == s_start => Start(format),
            CompressionFormat.Zstd or CompressionFormat.Bzip2 or CompressionFormat.Xz
                => throw new ArgumentException("The checkpoint is not one of this format.", nameof(from)),
            _ => throw new ArgumentOutOfRangeException(nameof(format), format, null),
        };
    }

    /// <summary>Uncompressed bytes handed out so far, counted from the start of the blob.</summary>
    public abstract long UncompressedOffset { get; }

    /// <summary>Compressed bytes consumed so far, counted from the start of the blob.</summary>
    public abstract long CompressedOffset { get; }

    /// <summary>Gives the next piece of the blob. Allowed only when <see cref="TryRead"/> has returned false.</summary>
    /// <param name="compressed">Must stay unchanged until <see cref="TryRead"/> returns false.</param>
    public abstract void Push(ReadOnlyMemory<byte> compressed);

    /// <summary>The next run of uncompressed bytes, valid until the next call; false when more input is needed or the stream has ended.</summary>
    public abstract bool TryRead(out ReadOnlySpan<byte> run);

    /// <summary>Says that the blob has ended. Throws <see cref="InvalidDataException"/> when the stream is cut off.</summary>
    public abstract void Complete();

    /// <summary>Takes the next finished checkpoint, in order. The first stands at the very start of the blob. After <see cref="Complete"/> all can be taken.</summary>
    public abstract bool TryTakeCheckpoint(out Checkpoint checkpoint);

    /// <inheritdoc/>
    public abstract void Dispose();
}
