using System.Diagnostics;

namespace LazyMount.Compression;

/// <summary>
/// Decides which boundaries become checkpoints. One at a time waits: for its window, and for a byte of output after it,
/// because a span is never empty (save the first one of an empty stream).
/// </summary>
internal sealed class CheckpointRecorder
{
    private readonly Queue<Checkpoint> _finished = new();
    private readonly long _spacing;
    private long _nextOffset;
    private Checkpoint? _waiting;

    /// <param name="spacing">
    /// Uncompressed bytes from one to the next, at least. Below the size of a window it counts as that, so that the
    /// windows of two checkpoints are never under way together.
    /// </param>
    public CheckpointRecorder(long spacing)
    {
        _spacing = Math.Max(spacing, Inflater.WindowSize);
        Finish(new Checkpoint(0, 0, 0, AtMemberStart: true, default));
    }

    /// <summary>Whether a boundary at this offset becomes a checkpoint.</summary>
    public bool Wants(long uncompressedOffset) => _waiting is null && uncompressedOffset >= _nextOffset;

    /// <summary>Takes a boundary that is wanted.</summary>
    public void Add(in Checkpoint checkpoint)
    {
        Debug.Assert(Wants(checkpoint.UncompressedOffset));
        _waiting = checkpoint;
    }

    /// <summary>The waiting boundary's window is known.</summary>
    public void SetWindow(byte[] window, long uncompressedOffset)
    {
        Debug.Assert(_waiting is { AtMemberStart: false });
        if (uncompressedOffset > _waiting.Value.UncompressedOffset)
            Finish(_waiting.Value with { Window = window });
        _waiting = null;
    }

    /// <summary>Decoding has come to <paramref name="uncompressedOffset"/>: a waiting member's start has its span.</summary>
    public void Advance(long uncompressedOffset)
    {
        if (_waiting is { AtMemberStart: true } start && uncompressedOffset > start.UncompressedOffset)
        {
            Finish(start);
            _waiting = null;
        }
    }

    public bool TryTake(out Checkpoint checkpoint) => _finished.TryDequeue(out checkpoint);

    private void Finish(in Checkpoint checkpoint)
    {
        _nextOffset = checkpoint.UncompressedOffset + _spacing;
        _finished.Enqueue(checkpoint);
    }
}
