using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

/// <summary>
/// The straight story from a reference to a tree that can be read (docs/path-of-a-read.md, steps 2 to 4): what `mount`
/// serves and what `ls`, `cat` and the others read. Owns everything below it and disposes it in reverse order.
/// </summary>
public sealed class OpenedImage : IAsyncDisposable
{
    /// <summary>
    /// Bytes of decoded spans kept in memory: two dozen spans, so that several readers each go on in their own. With
    /// 64 MiB a daemon that had read all of a 1.7 GB image stood at 155 MB, about 75 MB more than its spans.
    /// </summary>
    private const long SpanCapacity = 48 << 20;

    private readonly ResolvedImage _resolved;
    private readonly SpanCache _spans;

    private readonly LayerReaders _readers;
    private readonly ILogger<ImageFileSystem> _logger;
    private List<(Descriptor Blob, Layer Layer, LayerIndex Index)> _unverified;

    private OpenedImage(
        ResolvedImage resolved, LayerReaders readers, SpanCache spans, IReadOnlyList<Layer> layers, List<(Descriptor Blob, Layer Layer, LayerIndex Index)> unverified, LayerProofs proofs, ImageFileSystem fileSystem, ulong root, ILogger<ImageFileSystem> logger)
        => (_resolved, _readers, _spans, Layers, _unverified, Proofs, FileSystem, Root, _logger) = (resolved, readers, spans, layers, unverified, proofs, fileSystem, root, logger);

    /// <summary>The manifest, its config and its layers.</summary>
    public Image Image => _resolved.Image;

    /// <summary>The layers that the tree is of, lowest first, as <see cref="ImageTree.LayerOf"/> counts them.</summary>
    public IReadOnlyList<Layer> Layers { get; }

    /// <summary>Who vouches for each layer.</summary>
    public LayerProofs Proofs { get; }

    /// <summary>Layers of which the tree was made by their own table of contents.</summary>
    public IReadOnlySet<Digest> FromTables { get; private init; } = new HashSet<Digest>();

    /// <summary>
    /// Streams every layer whose index others made and compares. Returns what is wrong with the first index that differs from its layer, or
    /// null when none does; layers that could not be compared, and the result, are logged.
    /// </summary>
    public async Task<string?> FindLieAsync(ILogger logger, CancellationToken cancellationToken)
    {
        int notVerified = 0, total = _unverified.Count;
        foreach ((Descriptor layer, Layer inUse, LayerIndex index) in _unverified)
        {
            try
            {
                if (await _readers.FindDifferenceAsync(layer, Image, index, inUse, cancellationToken).ConfigureAwait(false) is { } difference)
                {
                    return difference;
                }
            }
#pragma warning disable CA1031 // Whatever keeps one layer from being verified must be said, and must not keep the others from it.
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
#pragma warning restore CA1031
            {
                logger.LayerNotVerified(layer.Digest.ToString(), e.Message);
                notVerified++;
            }
        }
        _unverified = []; // indexes are large
        if (notVerified > 0)
        {
            logger.IndexesNotVerified(Image.Reference.ToString(), notVerified, total);
        }
        else if (total > 0)
        {
            logger.IndexesVerified(Image.Reference.ToString());
        }
        return null;
    }

    /// <summary>Fetches ranges of layers in the background.</summary>
    public Prefetcher NewPrefetcher() => new(_spans);

    /// <summary>Says what to do when nothing has been read for a while and the memory of decoded bytes was given back; on a thread of the pool.</summary>
    public void WhenIdle(Action action) => _spans.Idled = action;

    /// <summary>The merged tree, or what else was asked for.</summary>
    public ImageTree Tree => FileSystem.Tree;

    /// <summary>The node in the tree that paths in the image begin at: not the tree's root where layers are shown beside the image.</summary>
    public ulong Root { get; }

    /// <summary>The tree with the contents of its files.</summary>
    public ImageFileSystem FileSystem { get; }

    /// <summary>Opens an image: resolves the reference, gets the index of every layer, merges the tree.</summary>
    /// <param name="reference">The image.</param>
    /// <param name="options">How to open it.</param>
    /// <param name="observer">Told what happens meanwhile.</param>
    /// <param name="loggers">For everything below.</param>
    /// <param name="cancellationToken">Gives up; nothing half-written stays.</param>
    /// <exception cref="ImageException">The image cannot be opened.</exception>
    public static async Task<OpenedImage> OpenAsync(
        ImageReference reference, OpeningOptions options, OpeningObserver observer, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        // :: Step 2: the source resolves the reference.
        ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, options, loggers, cancellationToken).ConfigureAwait(false);
        if (resolved.Image.ArtifactType is { } type)
        {
            // It may be a tree of files all the same: some artifacts are.
            observer.Note($"'{reference}' is not a container image but an artifact of type {type}");
            loggers.CreateLogger<OpenedImage>().ArtifactOpened(reference.ToString(), type);
        }
        else if (ImageConfig.TryParse(resolved.Image.ConfigBytes.Span) is null)
        {
            observer.Note($"the config of '{reference}' is not an image config, so the platform of its files is not known");
        }
        var spans = new SpanCache(SpanCapacity) { Counters = options.Cache.Counters };
        IReadOnlyList<Layer> layers = [];
        ImageTree? tree = null;
        try
        {
            var shape = new TreeShape(options, resolved.Image);
            Image wanted = shape.Alone is int number ? resolved.Image.WithLayer(number) : resolved.Image;
            IndexFinder finder = resolved.OpenIndexes(options, loggers);
            var readers = new LayerReaders(finder, resolved.Cache, loggers);
            ILogger<ImageFileSystem> logger = loggers.CreateLogger<ImageFileSystem>();

            // :: Step 3: every layer's index, or what it says of the layer's bytes.
            (tree, IReadOnlyList<LayerHead> heads) = await OpenTreeAsync(resolved, wanted, shape, finder, options.VerifiesFully, observer, logger, cancellationToken).ConfigureAwait(false);
            if (tree.DanglingLinks > 0)
            {
                observer.Note($"{tree.DanglingLinks} hard link(s) {(shape.Alone is int layer ? $"of layer {layer}" : "in layers/")} lead to files of lower layers and are shown as symbolic links");
            }
            layers = readers.Open(wanted, heads, spans);
            List<(Descriptor Blob, Layer Layer, LayerIndex Index)> unverified = options.VerifiesFully ? [.. wanted.Layers.Zip(layers, heads).Select(each => (each.First, each.Second, (LayerIndex)each.Third))] : [];
            var proofs = new LayerProofs([.. heads.Select(head => head.Proof.By)], shape.Alone ?? 0);
            return new OpenedImage(resolved, readers, spans, layers, unverified, proofs, new ImageFileSystem(tree, layers, logger) { ReadTimeout = options.Registries.ReadTimeout, Counters = options.Cache.Counters }, shape.RootOf(tree), logger)
            {
                FromTables = heads.Where(head => head.IsFromTable).Select(head => head.Digest).ToHashSet(),
            };
        }
        catch
        {
            await DisposeAllAsync(layers, spans, resolved).ConfigureAwait(false);
            tree?.Dispose();
            throw;
        }
    }

    // The merged tree and, for each of its layers, what reading it needs. When all of that is in the cache, no index is decoded. With
    // keepsIndexes the heads are whole indexes.
    private static async Task<(ImageTree Tree, IReadOnlyList<LayerHead> Heads)> OpenTreeAsync(
        ResolvedImage resolved, Image wanted, TreeShape shape, IndexFinder finder, bool keepsIndexes, OpeningObserver observer, ILogger logger, CancellationToken cancellationToken)
    {
        // :: Step 4: the merged tree, stored or made now.
        var trees = new TreeStore(resolved.Cache, logger);
        LayerHead[]? heads = keepsIndexes ? null : finder.TryOpenStored(wanted);
        if (heads is not null && trees.TryOpen(TreeStore.KeyOf(resolved.Image, heads, shape)) is { } stored)
        {
            foreach (LayerHead head in heads.Distinct())
            {
                finder.Tell(head);
            }
            return (stored, heads);
        }
        Close(heads);

        observer.LayersFound(wanted.Layers);
        LayerIndex[] indexes = await finder.GetAsync(wanted, observer, cancellationToken).ConfigureAwait(false);
        byte[]? key = TreeStore.KeyOf(resolved.Image, indexes, shape);
        ImageTree tree = trees.TryOpen(key) ?? Merge(trees, key, indexes, shape, resolved.Image);
        // What was just stored is read in place rather than kept in memory.
        heads = keepsIndexes || key is null ? null : finder.TryOpenStored(wanted);
        if (heads is null || !TreeStore.KeyOf(resolved.Image, heads, shape).AsSpan().SequenceEqual(key))
        {
            Close(heads);
            return (tree, indexes);
        }
        Close(indexes);
        return (tree, heads);
    }

    private static void Close(IEnumerable<LayerHead>? heads)
    {
        foreach (LayerHead head in heads ?? [])
        {
            head.Close();
        }
    }

    private static ImageTree Merge(TreeStore trees, byte[]? key, LayerIndex[] layers, TreeShape shape, Image image)
    {
        // A UUID of version 8 (RFC 9562), of what the tree is made from.
        byte[] hash = SHA256.HashData(Encoding.ASCII.GetBytes($"{image.ManifestDescriptor.Digest}\n{shape}"));
        hash[6] = (byte)(0x80 | (hash[6] & 0xF));
        hash[8] = (byte)(0x80 | (hash[8] & 0x3F));
        var identity = new Guid(hash.AsSpan(0, 16), bigEndian: true);
        try
        {
            return trees.Make(key, shape.Make(layers, identity, key ?? new byte[SHA256.HashSizeInBytes]));
        }
        catch (InvalidDataException e)
        {
            throw IndexedImage.NoTree(image, e);
        }
    }

    /// <summary>The tree as one file, an EROFS image that is made while it is read. Good until this is disposed.</summary>
    /// <exception cref="ImageException">EROFS cannot hold this tree.</exception>
    public ImageFileSystem OpenImageFile()
    {
        try
        {
            return new ImageFileSystem(new ErofsImage(Tree), Layers, _logger) { ReadTimeout = FileSystem.ReadTimeout, Counters = FileSystem.Counters };
        }
        catch (InvalidDataException e)
        {
            throw new ImageException(ImageError.Invalid, $"cannot show '{Image.Reference}' as an image file: {e.Message}; use it as a tree", e);
        }
    }

    /// <summary>Step 10, second half. All readers of the tree must have ended.</summary>
    public async ValueTask DisposeAsync()
    {
        await DisposeAllAsync(Layers, _spans, _resolved).ConfigureAwait(false);
        Tree.Dispose();
    }

    private static async ValueTask DisposeAllAsync(IReadOnlyList<Layer> layers, SpanCache spans, ResolvedImage resolved)
    {
        foreach (Layer layer in layers.Distinct())
        {
            layer.Dispose();
        }
        spans.Dispose();
        await resolved.DisposeAsync().ConfigureAwait(false);
    }
}
