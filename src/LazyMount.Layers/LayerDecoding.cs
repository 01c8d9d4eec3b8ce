using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using LazyMount.Compression;
using LazyMount.Layers.Tar;

namespace LazyMount.Layers;

/// <summary>
/// The decoder's half of indexing: bytes of the blob in, entries and checkpoints out. Used by one thread, but for
/// <see cref="TryTakeCheckpoint"/>. Keeps the first failure and ignores what comes after it.
/// </summary>
/// <param name="checkpointSpacing">Uncompressed bytes between checkpoints.</param>
/// <param name="contentHash">Fed with the uncompressed bytes, if they are to be hashed; owned.</param>
internal sealed class LayerDecoding(long checkpointSpacing, IncrementalHash? contentHash = null) : IDisposable
{
    private const int MaxSkippedKept = 20;

    private readonly TarScanner _scanner = new();
    private readonly ConcurrentQueue<Checkpoint> _checkpoints = new();
    private Decompressor? _decompressor;
    private ExceptionDispatchInfo? _failure;

    public LayerEntriesBuilder Entries { get; } = new(TarLimits.Default);

    public CompressionFormat Format { get; private set; }

    public long UncompressedSize { get; private set; }

    /// <summary>The first of the members that made no entry, and why.</summary>
    public List<(string Path, string Reason)> Skipped { get; } = [];

    public int SkippedCount { get; private set; }

    /// <summary>From any thread.</summary>
    public bool TryTakeCheckpoint(out Checkpoint checkpoint) => _checkpoints.TryDequeue(out checkpoint);

    /// <summary>The hash of the uncompressed bytes in hex, once complete.</summary>
    public string ContentHash() => Convert.ToHexStringLower(contentHash!.GetHashAndReset());

    public void ThrowIfFailed() => _failure?.Throw();

    [SuppressMessage("Design", "CA1031", Justification = "told to the reader's thread by ThrowIfFailed")]
    public void Push(ReadOnlyMemory<byte> compressed)
    {
        if (_failure is not null)
        {
            return;
        }
        try
        {
            _decompressor ??= Start(compressed.Span);
            _decompressor.Push(compressed);
            Read(_decompressor);
        }
        catch (Exception e)
        {
            _failure = ExceptionDispatchInfo.Capture(e);
        }
    }

    [SuppressMessage("Design", "CA1031", Justification = "told to the reader's thread by ThrowIfFailed")]
    public void Complete()
    {
        if (_failure is not null)
        {
            return;
        }
        try
        {
            _decompressor ??= Start(default);
            _decompressor.Complete();
            Read(_decompressor);
            _scanner.Complete();
            UncompressedSize = _decompressor.UncompressedOffset;
        }
        catch (Exception e)
        {
            _failure = ExceptionDispatchInfo.Capture(e);
        }
    }

    private Decompressor Start(ReadOnlySpan<byte> head)
    {
        Format = Decompressor.Detect(head);
        if (Format == CompressionFormat.None && UnsupportedCompression(head) is { } name)
        {
            throw new NotSupportedException($"it is compressed with {name}, which is not supported yet");
        }
        return Decompressor.Start(Format, checkpointSpacing);
    }

    private static string? UnsupportedCompression(ReadOnlySpan<byte> head)
        => head.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]) ? "zstd"
            : head.Length >= 4 && (head[0] & 0xF0) == 0x50 && head[1..].StartsWith((ReadOnlySpan<byte>)[0x2A, 0x4D, 0x18]) ? "zstd"
            : head.StartsWith("BZh"u8) ? "bzip2"
            : head.StartsWith((ReadOnlySpan<byte>)[0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0]) ? "xz"
            : null;

    private void Read(Decompressor decompressor)
    {
        while (decompressor.TryRead(out ReadOnlySpan<byte> run))
        {
            contentHash?.AppendData(run);
            while (_scanner.TryRead(ref run))
            {
                if (Entries.Add(_scanner.Member) is { } reason)
                {
                    Skip(reason);
                }
            }
        }
        while (decompressor.TryTakeCheckpoint(out Checkpoint checkpoint))
        {
            _checkpoints.Enqueue(checkpoint);
        }
    }

    private void Skip(string reason)
    {
        SkippedCount++;
        if (Skipped.Count < MaxSkippedKept)
        {
            Skipped.Add((TarText.Quote(_scanner.Member.Path), reason));
        }
    }

    public void Dispose()
    {
        _decompressor?.Dispose();
        contentHash?.Dispose();
    }
}
