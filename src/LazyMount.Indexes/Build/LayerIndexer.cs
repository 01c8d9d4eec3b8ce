using System.Diagnostics;
using System.Security.Cryptography;
using System.Threading.Channels;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Toc;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Build;

/// <summary>
/// Builds a <see cref="LayerIndex"/> in one pass over a blob.
/// <para>Two threads share the work, a few pieces of some chunks each go round between them. The reader takes bytes from the
/// source, hands the piece on, hashes it (the whole and the chunk) and packs the windows of checkpoints. The decoder decompresses and scans. Hashing costs about a third of decoding, so the decoder is what a
/// layer takes.</para>
/// <para>A blob with the wrong digest is told as that, whatever else is wrong with it: after the decoder has failed the
/// rest is still read and hashed.</para>
/// </summary>
internal sealed class LayerIndexer(ILogger logger, long checkpointSpacing = Decompressor.DefaultCheckpointSpacing)
{
    // Several chunks, so that few pieces are handed on.
    private const int ChunkSize = ChunkDigests.DefaultChunkSize;
    private const int PieceSize = 4 * ChunkSize;
    private const int Pieces = 6;

    // However many layers are fetched at once, no more are decoded than there are cores.
    private static readonly SemaphoreSlim s_decoders = new(Environment.ProcessorCount);

    /// <summary>The digest that the blob's uncompressed content must have; null when it is not checked.</summary>
    public Digest? DiffId { get; init; }

    /// <summary>A zstd span longer than this is not read at random: the layer is transcoded.</summary>
    public const int LongestSpan = 16 << 20;

    /// <summary>Where a transcoding goes, if it turns out to be needed; without one such a layer is refused.</summary>
    public Func<BlobStaging>? StageTranscoding { get; init; }

    /// <summary>Whether a gzip layer is transcoded as it passes: set for the pass after <see cref="NeedsTranscodingException"/>.</summary>
    public bool TranscodesGzip { get; init; }

    /// <summary>The memory budget of all indexes of the image; null for a layer that is indexed alone.</summary>
    public ImageBudget? Memory { get; init; }

    private readonly record struct Piece(byte[] Buffer, int Length);

    /// <summary>Indexes a blob from its bytes in order.</summary>
    /// <exception cref="ImageException">Verification, Invalid or Unsupported, or what the source or the disk failed with.</exception>
    /// <exception cref="NeedsTranscodingException">A second pass is needed.</exception>
    public async Task<LayerIndex> IndexAsync(Descriptor blob, Stream source, Action<long>? progress, CancellationToken cancellationToken)
    {
        // :: Step 3: hash, decode, scan.
        try
        {
            LayerIndex index = await PassAsync(blob, verify: true, source, progress, cancellationToken).ConfigureAwait(false);
            if (index.Entries.Length == 0 && index.UncompressedSize > 0 && ForeignContent.OfType(blob.MediaType) is not null)
            {
                throw Foreign(blob, "it is not a tar archive", null); // began with zeros, which end a tar
            }
            logger.LayerIndexed(blob.Digest.ToString(), index.Entries.Length, index.UncompressedSize, index.Checkpoints.Count);
            return index;
        }
        catch (NeedsTranscodingException)
        {
            throw;
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException && MediaTypes.IsEncrypted(blob.MediaType))
        {
            throw new ImageException(ImageError.Unsupported, $"cannot read layer {blob.Digest} of type {Printable.Of(blob.MediaType)}: it is encrypted; decrypt the image first with skopeo copy --decryption-key", e);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException && ForeignContent.OfType(blob.MediaType) is not null)
        {
            throw Foreign(blob, e.Message, e);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException && !MediaTypes.IsLayer(blob.MediaType))
        {
            throw new ImageException(ImageError.Unsupported, $"cannot read layer {blob.Digest} of type {Printable.Of(blob.MediaType)}: it is not a tree of files ({e.Message}); run lazymount manifest IMAGE to see what the artifact is", e);
        }
        catch (InvalidDataException e)
        {
            throw new ImageException(ImageError.Invalid, $"cannot read layer {blob.Digest} of type {Printable.Of(blob.MediaType)}: {e.Message}; its digest matches, so build and push the image again", e);
        }
        catch (NotSupportedException e)
        {
            throw new ImageException(ImageError.Unsupported, $"cannot read layer {blob.Digest} of type {Printable.Of(blob.MediaType)}: {e.Message}; lazymount reads tars, plain or compressed with gzip, zstd, bzip2 or xz", e);
        }
    }

    private static ImageException Foreign(Descriptor blob, string reason, Exception? cause)
    {
        (string what, string nextStep) = ForeignContent.OfType(blob.MediaType)!.Value;
        return new ImageException(ImageError.Unsupported, $"cannot read layer {blob.Digest} of type {Printable.Of(blob.MediaType)}: its type is that of {what}, not of a tree of files ({reason}); {nextStep}", cause);
    }

    /// <summary>Indexes a compressed archive. The archive's digest is not checked; decoding errors are thrown to the caller.</summary>
    /// <exception cref="InvalidDataException">It is malformed.</exception>
    /// <exception cref="NeedsTranscodingException">A second pass is needed.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that is not supported.</exception>
    public Task<LayerIndex> IndexArchiveAsync(Descriptor archive, Stream source, CancellationToken cancellationToken)
        => PassAsync(archive, verify: false, source, progress: null, cancellationToken);

    private async Task<LayerIndex> PassAsync(
        Descriptor blob, bool verify, Stream source, Action<long>? progress, CancellationToken cancellationToken)
    {
        var budget = new IndexBudget(blob.Size, Memory);
        try
        {
            return await PassAsync(blob, verify, source, budget, progress, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            budget.Dispose();
            throw;
        }
    }

    private async Task<LayerIndex> PassAsync(
        Descriptor blob, bool verify, Stream source, IndexBudget budget, Action<long>? progress, CancellationToken cancellationToken)
    {
        using var hash = blob.Digest.StartHash();
        using var digests = new MemoryStream();
        using var decoding = new LayerDecoding(
            checkpointSpacing, budget, DiffId?.StartHash(), StageTranscoding is { } stage ? () => new Transcoder(stage, blob.Size, budget) : null)
        {
            TranscodesGzip = TranscodesGzip,
        };
        using var checkpoints = new CheckpointTableBuilder(budget);
        InvalidDataException? tooMany = null;
        var filled = Channel.CreateBounded<Piece>(new BoundedChannelOptions(Pieces) { SingleReader = true, SingleWriter = true });
        var free = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(Pieces) { SingleReader = true, SingleWriter = true });
        for (int i = 0; i < Pieces; i++)
        {
            free.Writer.TryWrite(GC.AllocateUninitializedArray<byte>(PieceSize));
        }

        Task decoder = Task.Run(() => DecodeAsync(decoding, filled.Reader, free.Writer), CancellationToken.None);
        var digest = new byte[ChunkDigests.DigestSize];
        byte[] tail = [];
        long size = 0;
        try
        {
            while (size < blob.Size)
            {
                byte[] buffer = await free.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
                int wanted = (int)Math.Min(PieceSize, blob.Size - size);
                int length = await source.ReadAtLeastAsync(buffer.AsMemory(0, wanted), wanted, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
                if (length == 0)
                {
                    break;
                }
                // The buffer comes back through the free channel, which only this loop reads: it stays ours to read too.
                filled.Writer.TryWrite(new Piece(buffer, length));
                hash.AppendData(buffer, 0, length);
                for (int at = 0; at < length; at += ChunkSize)
                {
                    SHA256.HashData(buffer.AsSpan(at, Math.Min(ChunkSize, length - at)), digest);
                    digests.Write(digest);
                }
                tail = TailAfter(tail, buffer.AsSpan(0, length));
                size += length;
                TakeCheckpoints();
                progress?.Invoke(size);
            }
        }
        finally
        {
            filled.Writer.TryComplete();
            await decoder.ConfigureAwait(false);
        }

        cancellationToken.ThrowIfCancellationRequested();
        if (verify)
        {
            Verify(blob, size, hash);
        }
        decoding.ThrowIfFailed();
        TakeCheckpoints();
        if (tooMany is not null)
        {
            throw tooMany;
        }
        if (DiffId is { } diffId)
        {
            VerifyContent(blob, diffId, decoding);
        }
        LogSkipped(blob, decoding);
        Transcoder? transcoder = null;
        (long longest, long longestOfBlob) = checkpoints.LongestSpan(decoding.UncompressedSize, size);
        if (longest > LongestReadable(decoding.Format) || longestOfBlob > CheckpointTable.LongestSpan)
        {
            transcoder = decoding.Transcoder ?? throw new NeedsTranscodingException();
            if (transcoder.IsTooLarge)
            {
                throw new InvalidDataException($"it cannot be decoded from the middle, and a re-encoded copy takes more than {Transcoder.MaxGrowth} times its {blob.Size} bytes");
            }
            transcoder.Commit();
        }
        LayerPaths paths = decoding.Entries.BuildPaths();
        var index = new LayerIndex
        {
            Digest = blob.Digest,
            DiffId = DiffId,
            CompressedSize = size,
            UncompressedSize = decoding.UncompressedSize,
            Format = decoding.Format,
            Transcoding = transcoder?.Blob,
            Origin = IndexOrigin.Built,
            Proof = Proof.ByLayer(transcoder?.Chunks ?? new ChunkDigests(ChunkSize, digests.ToArray())),
            Checkpoints = transcoder?.Checkpoints ?? checkpoints.Build(decoding.UncompressedSize, size),
            Paths = paths,
            Entries = decoding.Entries.BuildEntries(),
            SparseMaps = decoding.Entries.BuildSparseMaps(),
            LinkTargets = decoding.Entries.BuildLinkTargets(),
            XattrSets = decoding.Entries.BuildXattrSets(),
        };
        return TocFiles.Hide(index, tail);

        // A table that is too large is told after the digest was checked.
        void TakeCheckpoints()
        {
            try
            {
                while (decoding.TryTakeCheckpoint(out Checkpoint checkpoint))
                {
                    if (tooMany is null)
                    {
                        checkpoints.Add(checkpoint);
                    }
                }
            }
            catch (InvalidDataException e)
            {
                tooMany = e;
            }
        }
    }

    // The last bytes of the blob, after some more of it.
    private static byte[] TailAfter(byte[] tail, ReadOnlySpan<byte> more)
    {
        byte[] all = [.. tail, .. more[^Math.Min(more.Length, TocFiles.TailSize)..]];
        return all[^Math.Min(all.Length, TocFiles.TailSize)..];
    }

    // The longest span that is read at random. bzip2 and xz, slow as they are, begin at the start only.
    private static long LongestReadable(CompressionFormat format) => format switch
    {
        CompressionFormat.Zstd => LongestSpan,
        CompressionFormat.Bzip2 or CompressionFormat.Xz => 4 << 20,
        _ => CheckpointTable.LongestSpan, // of gzip only a made-up layer passes it: one deflate block, or what follows the last member
    };

    private static void Verify(Descriptor blob, long size, IncrementalHash hash)
    {
        if (size != blob.Size)
        {
            throw new ImageException(ImageError.Verification, $"cannot use layer {blob.Digest}: the source sent {size} of {blob.Size} bytes; try again, or push the image again");
        }
        string actual = Convert.ToHexStringLower(hash.GetHashAndReset());
        if (actual != blob.Digest.Hex)
        {
            throw new ImageException(ImageError.Verification, $"cannot use layer {blob.Digest}: the bytes from its source have the digest {blob.Digest.Algorithm}:{actual}; try again, or push the image again");
        }
    }

    private static void VerifyContent(Descriptor blob, Digest diffId, LayerDecoding decoding)
    {
        string actual = decoding.ContentHash();
        if (actual != diffId.Hex)
        {
            throw new ImageException(ImageError.Verification, $"cannot use layer {blob.Digest}: its content has the digest {diffId.Algorithm}:{actual}, but the image's config says {diffId}; make the archive again");
        }
    }

    private void LogSkipped(Descriptor blob, LayerDecoding decoding)
    {
        foreach ((string path, string reason) in decoding.Skipped)
        {
            logger.EntrySkipped(blob.Digest.ToString(), path, reason);
        }
        if (decoding.SkippedCount > decoding.Skipped.Count)
        {
            logger.MoreEntriesSkipped(blob.Digest.ToString(), decoding.SkippedCount - decoding.Skipped.Count);
        }
    }

    // Whatever happens the buffers go on round: the reader decides when it is over.
    private static async Task DecodeAsync(LayerDecoding decoding, ChannelReader<Piece> filled, ChannelWriter<byte[]> free)
    {
        await foreach (Piece piece in filled.ReadAllAsync().ConfigureAwait(false))
        {
            await s_decoders.WaitAsync().ConfigureAwait(false);
            try
            {
                decoding.Push(piece.Buffer.AsMemory(0, piece.Length));
            }
            finally
            {
                s_decoders.Release();
            }
            bool returned = free.TryWrite(piece.Buffer);
            Debug.Assert(returned, "as many places as buffers");
        }
        decoding.Complete();
    }
}
