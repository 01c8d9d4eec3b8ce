using System.Buffers;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Layers;

namespace LazyMount.Trees;

/// <summary>
/// Regular files of a tree in the order in which their bytes stand in the layers' tars, lowest layer first: whoever
/// reads them so has each span decoded once and each compressed byte fetched once, whatever the image's size. Spans are
/// decoded ahead of the reader. Spans that hold no byte of the files are not fetched. Not thread-safe.
/// </summary>
internal sealed class FilesInTarOrder : IDisposable
{
    /// <summary>Spans that are decoded or being decoded besides the one in use: as many as keep two cores busy.</summary>
    private const int Ahead = 4;

    private readonly ImageTree _tree;
    private readonly IReadOnlyList<Layer> _layers;
    private readonly ulong[] _files;
    private readonly IEnumerator<(int Layer, int Span)> _coming;
    private readonly Queue<(int Layer, int Span, Task<SpanLease> Work)> _spans = new();
    private SpanLease _stray;

    /// <summary>All files of the tree.</summary>
    public FilesInTarOrder(OpenedImage image)
        : this(image, image.Tree.FilesInTarOrder())
    {
    }

    /// <param name="image">The image.</param>
    /// <param name="nodes">Those of its nodes of which the files are read, each once.</param>
    public FilesInTarOrder(OpenedImage image, IEnumerable<ulong> nodes)
        : this(image, image.Tree.FilesInTarOrder(nodes))
    {
    }

    private FilesInTarOrder(OpenedImage image, ulong[] sorted)
    {
        (_tree, _layers, _files) = (image.Tree, image.Layers, sorted);
        _coming = SpansToCome().GetEnumerator();
    }

    /// <summary>The files.</summary>
    public IReadOnlyList<ulong> Files => _files;

    /// <summary>Reads bytes of a layer's tar; calls are to go forward in tar order. What cannot be read throws what was wrong with it.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="at">Where they begin.</param>
    /// <param name="length">How many they are.</param>
    /// <param name="take">Takes a piece, and the number of bytes that came before it.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task ReadAsync(int layer, long at, long length, ReadOnlySpanAction<byte, long> take, CancellationToken cancellationToken)
    {
        for (long done = 0, count; done < length; done += count)
        {
            cancellationToken.ThrowIfCancellationRequested();
            SpanLease span = await GetSpanAsync(layer, at + done, cancellationToken);
            int start = (int)(at + done - span.UncompressedOffset);
            count = Math.Min(length - done, span.Length - start);
            take(span.Bytes.Slice(start, (int)count), done);
        }
    }

    // The span that holds a byte. It is good until the next call.
    private async ValueTask<SpanLease> GetSpanAsync(int layer, long at, CancellationToken cancellationToken)
    {
        ReleaseStray();
        int wanted = _layers[layer].Spans.Find(at);
        while (_spans.TryPeek(out var next) && (next.Layer, next.Span).CompareTo((layer, wanted)) < 0)
        {
            Release(_spans.Dequeue().Work);
        }
        while (_spans.Count <= Ahead && _coming.MoveNext())
        {
            if (_coming.Current.CompareTo((layer, wanted)) >= 0)
            {
                Layer from = _layers[_coming.Current.Layer];
                _spans.Enqueue((_coming.Current.Layer, _coming.Current.Span,
                    from.GetSpanAsync(from.Spans.UncompressedOffset(_coming.Current.Span), cancellationToken).AsTask()));
            }
        }
        if (_spans.TryPeek(out var head) && (head.Layer, head.Span) == (layer, wanted))
        {
            return await head.Work;
        }
        // A table of contents in which files overlap.
        return _stray = await _layers[layer].GetSpanAsync(at, cancellationToken);
    }

    private IEnumerable<(int Layer, int Span)> SpansToCome()
    {
        (int Layer, int Span) last = (-1, -1);
        foreach (ulong id in _files)
        {
            int layer = _tree.LayerOf(id);
            foreach ((_, long at, long length) in _tree.Extents(id))
            {
                SpanMap spans = _layers[layer].Spans;
                int end = spans.Find(at + length - 1);
                for (int span = spans.Find(at); span <= end; span++)
                {
                    if ((layer, span).CompareTo(last) > 0 && spans.UncompressedOffset(span + 1) > spans.UncompressedOffset(span))
                    {
                        yield return last = (layer, span);
                    }
                }
            }
        }
    }

    private void ReleaseStray()
    {
        _stray.Dispose();
        _stray = default;
    }

    private static void Release(Task<SpanLease> work)
        => work.ContinueWith(
            static done =>
            {
                if (done.Status == TaskStatus.RanToCompletion)
                {
                    done.Result.Dispose();
                }
                else
                {
                    _ = done.Exception; // seen: nobody waits for it any more
                }
            },
            CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    public void Dispose()
    {
        ReleaseStray();
        while (_spans.TryDequeue(out var span))
        {
            Release(span.Work);
        }
        _coming.Dispose();
    }
}
