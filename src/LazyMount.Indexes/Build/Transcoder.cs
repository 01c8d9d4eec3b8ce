using System.Security.Cryptography;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Build;

/// <summary>
/// Encodes a tar again while it passes, as zstd frames of one span each, so that a layer which cannot be read at random has
/// something that can. The same tar always gives the same bytes. A few frames are encoded at a time; each under way takes
/// two buffers of a span, so that is the bound of memory. One that becomes much larger than the layer's blob is given up.
/// </summary>
/// <param name="stage">Opens where the bytes go.</param>
/// <param name="blobSize">Bytes of the layer's blob.</param>
/// <param name="budget">Counts what the checkpoints take.</param>
internal sealed class Transcoder(Func<BlobStaging> stage, long blobSize, IndexBudget budget) : IDisposable
{
    /// <summary>
    /// Bytes on disk for each byte of the layer's blob, and those that any transcoding may have. A layer of which a transcoding
    /// takes more repeats the same bytes again and again, farther apart than a span. The factor is chosen, not measured.
    /// </summary>
    internal const long MaxGrowth = 64, FreeBytes = 256 << 20;

    /// <summary>Bytes that are decoded to read one byte. In frames of 4 MiB the same bytes are 1 % smaller, and a first read waits four times as long.</summary>
    public const int SpanSize = 1 << 20;

    private const int Level = 1;

    private static readonly int s_underWay = Math.Min(4, Environment.ProcessorCount + 1);

    private readonly Queue<FrameEncoder> _busy = new(); // in the order of the tar
    private readonly Stack<FrameEncoder> _idle = new();
    private FrameEncoder? _filling;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly IncrementalHash _chunkHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly MemoryStream _chunks = new();
    private readonly CheckpointTableBuilder _checkpoints = new(budget);
    private int _chunkFilled;
    private BlobStaging? _staging; // from the first frame on
    private long _uncompressed, _size;
    private ImageException? _failure; // of the cache: it is thrown when the transcoding turns out to be needed

    /// <summary>It was given up: it is more than <see cref="MaxGrowth"/> times as large as the blob.</summary>
    public bool IsTooLarge { get; private set; }

    private bool IsGivenUp => IsTooLarge || _failure is not null;

    /// <summary>Digest and size of the transcoding, once complete.</summary>
    public Descriptor? Blob { get; private set; }

    /// <summary>The digests of its chunks, once complete.</summary>
    public ChunkDigests? Chunks { get; private set; }

    /// <summary>Its frames, once complete.</summary>
    public CheckpointTable? Checkpoints { get; private set; }

    public void Append(ReadOnlySpan<byte> tar)
    {
        while (!tar.IsEmpty && !IsGivenUp)
        {
            _filling ??= NextEncoder();
            tar = tar[_filling.Take(tar)..];
            if (_filling.IsFull)
            {
                EndSpan();
            }
        }
    }

    public void Complete()
    {
        if (IsGivenUp)
        {
            return;
        }
        if (_filling is not null || (_uncompressed == 0 && _busy.Count == 0))
        {
            EndSpan();
        }
        while (_busy.Count > 0 && !IsGivenUp)
        {
            WriteOldest();
        }
        if (IsGivenUp)
        {
            return;
        }
        if (_chunkFilled > 0)
        {
            _chunks.Write(_chunkHash.GetHashAndReset());
        }
        Blob = new Descriptor("", Digest.FromSha256(_hash.GetHashAndReset()), _size);
        Chunks = new ChunkDigests(ChunkDigests.DefaultChunkSize, _chunks.ToArray());
        Checkpoints = _checkpoints.Build(_uncompressed, _size);
    }

    /// <summary>Publishes it under its own digest.</summary>
    /// <exception cref="ImageException"><see cref="ImageError.Local"/>: the cache cannot keep it.</exception>
    public void Commit()
    {
        if (_failure is not null)
        {
            throw _failure;
        }
        _staging!.Commit(Blob!);
    }

    public void Dispose()
    {
        foreach (FrameEncoder encoder in (FrameEncoder[])[.. _busy, .. _idle, .. _filling is null ? [] : (FrameEncoder[])[_filling]])
        {
            encoder.Dispose();
        }
        _staging?.Dispose();
        _checkpoints.Dispose();
        _hash.Dispose();
        _chunkHash.Dispose();
        _chunks.Dispose();
    }

    private FrameEncoder NextEncoder()
    {
        if (_idle.Count == 0 && _busy.Count == s_underWay)
        {
            WriteOldest();
        }
        return _idle.TryPop(out FrameEncoder? idle) ? idle : new FrameEncoder();
    }

    private void EndSpan()
    {
        _filling ??= NextEncoder(); // of an empty tar
        _filling.Start();
        _busy.Enqueue(_filling);
        _filling = null;
    }

    private void WriteOldest()
    {
        FrameEncoder encoder = _busy.Dequeue();
        ReadOnlySpan<byte> bytes = encoder.Wait(out int uncompressedLength);
        if (_size + bytes.Length > FreeBytes && (_size + bytes.Length - FreeBytes) / MaxGrowth > blobSize)
        {
            IsTooLarge = true;
        }
        else
        {
            try
            {
                _staging ??= stage();
                _staging.Append(bytes);
            }
            catch (ImageException e)
            {
                _failure = e;
            }
        }
        if (IsGivenUp)
        {
            _staging?.Dispose();
            _idle.Push(encoder);
            return;
        }
        _checkpoints.Add(new Checkpoint(_size, 0, _uncompressed, AtMemberStart: true, default));
        _size += bytes.Length;
        _uncompressed += uncompressedLength;
        _hash.AppendData(bytes);
        while (!bytes.IsEmpty)
        {
            int n = Math.Min(bytes.Length, ChunkDigests.DefaultChunkSize - _chunkFilled);
            _chunkHash.AppendData(bytes[..n]);
            bytes = bytes[n..];
            _chunkFilled += n;
            if (_chunkFilled == ChunkDigests.DefaultChunkSize)
            {
                _chunks.Write(_chunkHash.GetHashAndReset());
                _chunkFilled = 0;
            }
        }
        _idle.Push(encoder);
    }

    /// <summary>One frame under way: the span that is collected, then encoded on the thread pool. Used again and again.</summary>
    private sealed class FrameEncoder : IDisposable
    {
        private readonly byte[] _span = GC.AllocateUninitializedArray<byte>(SpanSize);
        private readonly byte[] _frame = GC.AllocateUninitializedArray<byte>(ZstdSharp.Compressor.GetCompressBound(SpanSize));
        private readonly ZstdSharp.Compressor _compressor = new(Level);
        private Task<int>? _encoding;
        private int _filled;

        public bool IsFull => _filled == SpanSize;

        /// <summary>Takes as many bytes as there is room for, and returns their number.</summary>
        public int Take(ReadOnlySpan<byte> tar)
        {
            int length = Math.Min(tar.Length, SpanSize - _filled);
            tar[..length].CopyTo(_span.AsSpan(_filled));
            _filled += length;
            return length;
        }

        public void Start() => _encoding = Task.Run(() => _compressor.Wrap(_span.AsSpan(0, _filled), _frame));

        /// <summary>The frame, valid until the next <see cref="Take"/>.</summary>
        public ReadOnlySpan<byte> Wait(out int uncompressedLength)
        {
            int length = _encoding!.GetAwaiter().GetResult();
            (uncompressedLength, _filled, _encoding) = (_filled, 0, null);
            return _frame.AsSpan(0, length);
        }

        public void Dispose()
        {
            if (_encoding is not null)
            {
                ((IAsyncResult)_encoding).AsyncWaitHandle.WaitOne(); // an abandoned pass: the compressor is still in use
            }
            _compressor.Dispose();
        }
    }
}
