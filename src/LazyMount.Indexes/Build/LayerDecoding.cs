using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>
/// The decoder's half of indexing: bytes of the blob in, entries and checkpoints out. Used by one thread, but for
/// <see cref="TryTakeCheckpoint"/>. Keeps the first failure and ignores what comes after it.
/// </summary>
/// <param name="checkpointSpacing">Uncompressed bytes between checkpoints.</param>
/// <param name="budget">Counts what the entries take.</param>
/// <param name="contentHash">Fed with the uncompressed bytes, if they are to be hashed; owned.</param>
/// <param name="startTranscoder">Called for a format that may not be readable at random.</param>
internal sealed class LayerDecoding(long checkpointSpacing, IndexBudget budget, IncrementalHash? contentHash = null, Func<Transcoder>? startTranscoder = null) : IDisposable
{
    private const int MaxSkippedKept = 20;

    // DEFLATE cannot do better than 1032 to 1.
    private const int MaxRatio = 1100;

    private readonly TarScanner _scanner = new();
    private readonly ConcurrentQueue<Checkpoint> _checkpoints = new();
    private Decompressor? _decompressor;
    private ExceptionDispatchInfo? _failure;
    private byte[]? _head = new byte[ForeignContent.HeadSize]; // the first bytes, until there is an entry
    private int _headLength;

    public LayerEntriesBuilder Entries { get; } = new(budget);

    public CompressionFormat Format { get; private set; }

    public long UncompressedSize { get; private set; }

    /// <summary>Whether the transcoder is also started for gzip.</summary>
    public bool TranscodesGzip { get; init; }

    /// <summary>The encoder of the transcoded layer; null when the layer is not transcoded.</summary>
    public Transcoder? Transcoder { get; private set; }

    /// <summary>
    /// Uncompressed bytes that any layer may have, however small its blob is: zstd makes 300 KB of a file of 10 GB of zeros, bzip2 less,
    /// and people have such files.
    /// </summary>
    public long FreeBytes { get; init; } = 16L << 30;

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
            Fail(e);
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
            Transcoder?.Complete();
            UncompressedSize = _decompressor.UncompressedOffset;
            if (Foreign() is { } foreign)
            {
                Fail(foreign); // file systems begin with zeros, which end a tar
            }
        }
        catch (Exception e)
        {
            Fail(e);
        }
    }

    private void Fail(Exception e) => _failure = ExceptionDispatchInfo.Capture(Foreign(e) ?? e);

    private NotSupportedException? Foreign(Exception? cause = null)
        => _head is not null && ForeignContent.OfBytes(_head.AsSpan(0, _headLength)) is { } what ? new NotSupportedException($"it is not a tar archive but {what}", cause) : null;

    private Decompressor Start(ReadOnlySpan<byte> head)
    {
        Format = Decompressor.Detect(head);
        if (TranscodesGzip || Format is CompressionFormat.Zstd or CompressionFormat.Bzip2 or CompressionFormat.Xz)
        {
            Transcoder = startTranscoder?.Invoke();
        }
        return Decompressor.Start(Format, checkpointSpacing);
    }

    private void Read(Decompressor decompressor)
    {
        while (decompressor.TryRead(out ReadOnlySpan<byte> run))
        {
            contentHash?.AppendData(run);
            Transcoder?.Append(run);
            CheckRatio(decompressor);
            KeepHead(run);
            while (_scanner.TryRead(ref run))
            {
                _head = null;
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

    private void KeepHead(ReadOnlySpan<byte> run)
    {
        if (_head is not null)
        {
            int length = Math.Min(run.Length, _head.Length - _headLength);
            run[..length].CopyTo(_head.AsSpan(_headLength));
            _headLength += length;
        }
    }

    // Bounds the time of a pass. Memory is bounded by the budget, disk by the transcoder. gzip cannot reach the ratio that is refused.
    private void CheckRatio(Decompressor decompressor)
    {
        if (decompressor.UncompressedOffset > FreeBytes && decompressor.UncompressedOffset / MaxRatio > decompressor.CompressedOffset)
        {
            throw new InvalidDataException($"its first {decompressor.CompressedOffset} bytes decode to more than {decompressor.UncompressedOffset - 1} bytes, which is more than {MaxRatio} times as many");
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
        Transcoder?.Dispose();
    }
}
