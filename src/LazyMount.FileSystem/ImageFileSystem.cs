using LazyMount.Blobs.Counting;
using LazyMount.FileSystem.Erofs;
using LazyMount.Layers;
using Microsoft.Extensions.Logging;

namespace LazyMount.FileSystem;

/// <summary>The merged tree and its files' bytes: what every frontend serves. Thread-safe.</summary>
/// <param name="tree">The tree.</param>
/// <param name="layers">Its layers, lowest first. Not owned.</param>
/// <param name="logger">Every failed read is logged here, with path, layer and cause.</param>
public sealed partial class ImageFileSystem(ImageTree tree, IReadOnlyList<Layer> layers, ILogger<ImageFileSystem> logger)
{
    private readonly ErofsImage? _image;

    /// <summary>The tree as one file, "image.erofs", in a directory of its own: an EROFS image that is made while it is read.</summary>
    /// <param name="image">The image.</param>
    /// <param name="layers">The layers of the tree, lowest first. Not owned.</param>
    /// <param name="logger">Every failed read is logged here.</param>
    public ImageFileSystem(ErofsImage image, IReadOnlyList<Layer> layers, ILogger<ImageFileSystem> logger)
        : this(TreeBuilder.OfFile("image.erofs"u8.ToArray(), image.Size, image.Time), layers, logger)
        => _image = image;

    /// <summary>Stands in for a tree that nobody needs any more: nothing of it can be read (<see cref="IsRefused"/>).</summary>
    public static ImageFileSystem OfNothing(ServingCounters counters, ILogger<ImageFileSystem> logger)
        => new(TreeBuilder.OfFile("nothing"u8.ToArray(), 0, default), [], logger) { _refused = true, Counters = counters };

    /// <summary>
    /// Bytes of a span that a read may hold while it waits for the next one. What it needs of a longer span is copied, so that
    /// many reads at once cannot hold much more than they answer. Our spans have 2 MiB and those of other tools 4 MiB.
    /// </summary>
    private const int LongestHeld = 4 << 20;

    private volatile bool _refused;

    /// <summary>The tree.</summary>
    public ImageTree Tree { get; } = tree;

    /// <summary>
    /// How long <see cref="ReadAsync"/> waits for bytes before it answers <see cref="Errno.EIO"/>. What was fetched meanwhile is kept, and
    /// the next read tries anew.
    /// </summary>
    public TimeSpan ReadTimeout { get; init; } = Timeout.InfiniteTimeSpan;

    /// <summary>Where front ends count, and failures of reads are noted.</summary>
    public ServingCounters Counters { get; init; } = new();

    /// <summary>
    /// Called with the cause before <see cref="ReadAsync"/> answers <see cref="Errno.EIO"/>, for front ends that can tell more than an
    /// error number. Called from any thread.
    /// </summary>
    public Action<Exception>? ReadFailed { get; set; }

    /// <summary>The tree was found not to be the image's: nothing of it may be shown.</summary>
    public bool IsRefused => _refused;

    /// <summary>
    /// From now on every read fails with EIO, those that wait already too: the tree turned out not to be the image's. Frontends must not
    /// show names and attributes any more either (<see cref="IsRefused"/>), and take back what they have shown.
    /// </summary>
    public void Refuse() => _refused = true;

    /// <summary>
    /// Says the path of a node in messages, quoted; control characters become question marks. The path is looked for when the text is asked
    /// for, which is not often: most failures are only counted.
    /// </summary>
    public NodeDescription Describe(ulong id, long offset = 0) => new(this, id, offset);

    /// <summary>Notes a failure that somebody who uses the files sees. Returns the node for the message that says so.</summary>
    public NodeDescription NoteFailure(ulong id, long offset, Exception cause)
    {
        ArgumentNullException.ThrowIfNull(cause);
        NodeDescription node = Describe(id, offset);
        Counters.Note(node, cause.Message);
        return node;
    }

    /// <summary>A node for messages; see <see cref="Describe"/>.</summary>
    /// <param name="FileSystem">Where it is.</param>
    /// <param name="Id">The node.</param>
    /// <param name="Offset">What is read of it: of the image file, that says which file of the tree.</param>
    public sealed record NodeDescription(ImageFileSystem FileSystem, ulong Id, long Offset)
    {
        /// <inheritdoc/>
        public override string ToString() => FileSystem.PathText(Id, Offset);
    }

    private string PathText(ulong id, long offset)
    {
        try
        {
            return _image?.PathAt(offset) is { } path ? TreePath.Quoted(path) : Tree.IsNode(id) ? TreePath.Quoted(Tree.PathOf(id)) : $"node {id}";
        }
#pragma warning disable CA1031 // The tree file may be damaged or closed by now; a message must not fail for that.
        catch (Exception)
#pragma warning restore CA1031
        {
            return $"node {id}";
        }
    }

    /// <summary>
    /// Reads when all bytes are decoded in memory: fills <paramref name="data"/> and returns true. False: nothing was
    /// taken, use <see cref="ReadAsync"/>. No allocation. The node must be a regular file. Past the end gives 0 bytes.
    /// </summary>
    public bool TryRead(ulong id, long offset, int length, FileData data)
    {
        if (_refused)
        {
            return false;
        }
        // :: Step 7: contents.
        long end = End(id, offset, length);
        while (TryFindData(id, ref offset, end, data, out int layer, out long at, out long wanted, out long fileEnd))
        {
            if (!layers[layer].TryGetSpan(at, out var span, fileEnd))
            {
                data.Clear();
                return false;
            }
            offset += Add(data, span, at, wanted, isLast: true);
        }
        return true;
    }

    /// <summary>
    /// The same, waiting for disk, network and decoding. Returns <see cref="Errno.None"/>, <see cref="Errno.EIO"/>
    /// (logged) or <see cref="Errno.EINTR"/> (cancelled); <paramref name="data"/> is filled on success only.
    /// </summary>
    public async ValueTask<Errno> ReadAsync(ulong id, long offset, int length, FileData data, CancellationToken cancellationToken)
    {
        // :: Step 8: contents that must be waited for.
        long end = End(id, offset, length);
        int layer = Tree.LayerOf(id);
        if (_refused)
        {
            return Errno.EIO;
        }
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(ReadTimeout);
        try
        {
            while (TryFindData(id, ref offset, end, data, out layer, out long at, out long wanted, out long fileEnd))
            {
                SpanLease span = await layers[layer].GetSpanAsync(at, patience.Token, wanted, fileEnd).ConfigureAwait(false);
                offset += Add(data, span, at, wanted, isLast: offset + Math.Min(wanted, span.UncompressedOffset + span.Length - at) == end);
            }
            if (_refused)
            {
                data.Clear();
                return Errno.EIO;
            }
            return Errno.None;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            data.Clear();
            return _refused ? Errno.EIO : Errno.EINTR;
        }
#pragma warning disable CA1031 // The one place where whatever went wrong below becomes an errno.
        catch (Exception cause)
#pragma warning restore CA1031
        {
            data.Clear();
            if (cause is OperationCanceledException && patience.IsCancellationRequested)
            {
                cause = new TimeoutException($"its bytes did not arrive within {ReadTimeout.TotalSeconds:0.###} s (--read-timeout); check the network and read it again", cause);
            }
            ReadFailed?.Invoke(cause);
            LogReadFailed(NoteFailure(id, offset, cause), layer, cause.Message, cause);
            return Errno.EIO;
        }
    }

    // Answers holes with zeros, and metadata from their file, up to the next byte that a layer has: where it stands in the tar, how many are
    // wanted from there, and where what is stored of the file ends.
    private bool TryFindData(ulong id, ref long offset, long end, FileData data, out int layer, out long at, out long wanted, out long fileEnd)
    {
        while (offset < end)
        {
            if (_image is { } image && offset < image.MetadataSize)
            {
                int count = (int)(Math.Min(end, image.MetadataSize) - offset);
                image.ReadMetadata(offset, data.AddBytes(count));
                offset += count;
                continue;
            }
            (layer, at, long extentEnd) = Locate(id, offset);
            wanted = Math.Min(end, extentEnd) - offset;
            fileEnd = at + extentEnd - offset;
            if (at >= 0)
            {
                return true;
            }
            data.AddZeros((int)wanted);
            offset += wanted;
        }
        (layer, at, wanted, fileEnd) = (-1, -1, 0, 0);
        return false;
    }

    private (int Layer, long At, long End) Locate(ulong id, long offset)
    {
        if (_image is { } image)
        {
            (int layer, long stored, long until) = image.Find(offset);
            return (layer, layer < 0 ? -1 : stored, until);
        }
        (long at, long end) = Tree.Extent(id, offset);
        return (Tree.LayerOf(id), at, end);
    }

    // The offset in the file behind the last byte that the read gets.
    private long End(ulong id, long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (!FileMode.IsRegular(Tree.Mode(id)))
        {
            throw new ArgumentException($"node {id} is not a regular file", nameof(id));
        }
        long size = Tree.Size(id);
        return offset + Math.Min(length, Math.Max(0, size - offset));
    }

    private static int Add(FileData data, SpanLease span, long at, long wanted, bool isLast)
    {
        int start = (int)(at - span.UncompressedOffset);
        int length = (int)Math.Min(wanted, span.Length - start);
        if (!isLast && span.Length > LongestHeld)
        {
            data.AddCopy(span, start, length);
            return length;
        }
        data.Add(span, start, length);
        return length;
    }

    [LoggerMessage(1, LogLevel.Error, "cannot read {Path} (layer {Layer}): {Reason}")]
    private partial void LogReadFailed(NodeDescription path, int layer, string reason, Exception cause);
}
