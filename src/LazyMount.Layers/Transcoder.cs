using System.Security.Cryptography;
using LazyMount.Blobs;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;

namespace LazyMount.Layers;

/// <summary>
/// Encodes a tar again while it passes, as zstd frames of one span each, so that a layer which cannot be read at random has
/// something that can. The same tar always gives the same bytes. A few frames are encoded at a time; each under way takes
/// two buffers of a span, so that is the bound of memory.
/// </summary>
internal sealed class Transcoder(BlobStaging staging) : IDisposable
{
    /// <summary>What is decoded to read one byte. In frames of 4 MiB the same bytes are 1 % smaller, and a first read waits four times as long.</summary>
    public const int SpanSize = 1 << 20;

    private const int Level = 1;

    private static readonly int s_underWay = Math.Min(4, Environment.ProcessorCount + 1);

    private readonly record struct Frame(byte[] Bytes, int Length, int UncompressedLength);

    private readonly Queue<Task<Frame>> _frames = new();
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly IncrementalHash _chunkHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly MemoryStream _chunks = new();
    private readonly CheckpointTableBuilder _checkpoints = new();
    private byte[] _span = new byte[SpanSize];
    private int _filled;
    private int _chunkFilled;
    private long _uncompressed, _size;

    /// <summary>Digest and size of the transcoding, once complete.</summary>
    public Descriptor? Blob { get; private set; }

    /// <summary>The digests of its chunks, once complete.</summary>
    public ChunkDigests? Chunks { get; private set; }

    /// <summary>Its frames, once complete.</summary>
    public CheckpointTable? Checkpoints { get; private set; }

    public void Append(ReadOnlySpan<byte> tar)
    {
        while (!tar.IsEmpty)
        {
            int n = Math.Min(tar.Length, SpanSize - _filled);
            tar[..n].CopyTo(_span.AsSpan(_filled));
            tar = tar[n..];
            _filled += n;
            if (_filled == SpanSize)
            {
                EndSpan();
            }
        }
    }

    public void Complete()
    {
        if (_filled > 0 || (_uncompressed == 0 && _frames.Count == 0))
        {
            EndSpan();
        }
        while (_frames.Count > 0)
        {
            WriteOldest();
        }
        if (_chunkFilled > 0)
        {
            _chunks.Write(_chunkHash.GetHashAndReset());
        }
        Blob = new Descriptor("", Digest.Parse("sha256:" + Convert.ToHexStringLower(_hash.GetHashAndReset())), _size);
        Chunks = new ChunkDigests(ChunkDigests.DefaultChunkSize, _chunks.ToArray());
        Checkpoints = _checkpoints.Build(_uncompressed, _size);
    }

    /// <summary>Publishes it under its own digest.</summary>
    public void Commit() => staging.Commit(Blob!);

    public void Dispose()
    {
        staging.Dispose();
        _checkpoints.Dispose();
        _hash.Dispose();
        _chunkHash.Dispose();
        _chunks.Dispose();
    }

    private void EndSpan()
    {
        (byte[] span, int length) = (_span, _filled);
        _frames.Enqueue(Task.Run(() => Encode(span, length)));
        if (_frames.Count >= s_underWay)
        {
            WriteOldest();
        }
        _span = new byte[SpanSize];
        _filled = 0;
    }

    private static Frame Encode(byte[] span, int length)
    {
        using var compressor = new ZstdSharp.Compressor(Level);
        var frame = new byte[ZstdSharp.Compressor.GetCompressBound(length)];
        return new Frame(frame, compressor.Wrap(span.AsSpan(0, length), frame), length);
    }

    private void WriteOldest()
    {
        Frame frame = _frames.Dequeue().GetAwaiter().GetResult();
        ReadOnlySpan<byte> bytes = frame.Bytes.AsSpan(0, frame.Length);
        staging.Append(bytes);
        _checkpoints.Add(new Checkpoint(_size, 0, _uncompressed, AtMemberStart: true, default));
        _size += bytes.Length;
        _uncompressed += frame.UncompressedLength;
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
    }
}
