using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using LazyMount.Trees;
using Microsoft.Extensions.Logging;

namespace LazyMount.Serving;

/// <summary>
/// One image that is served. Each way to look at it is opened when somebody asks for it and closed when nobody does: the manifest alone, the tree,
/// the tree with each layer beside it, the indexes of all layers. All are of what the reference led to when the server first opened it, though a tag
/// may move meanwhile.
/// </summary>
internal sealed class ServedImage : IAsyncDisposable
{
    private static readonly TimeSpan s_idle = TimeSpan.FromMinutes(2);

    private readonly IdleResource<ResolvedImage> _resolved;
    private readonly IdleResource<OpenedTree> _merged;
    private readonly IdleResource<OpenedTree> _withLayers;
    private readonly IdleResource<IndexedImage> _indexed;
    private Digest? _root;

    public ServedImage(string name, ImageReference reference, CommandSettings settings, ILoggerFactory loggers)
    {
        (Name, Reference, Settings, Loggers) = (name, reference, settings, loggers);
        var observer = new NoteObserver(loggers.CreateLogger("LazyMount.Serve"));
        _resolved = new(OpenAsync, s_idle);
        _merged = new(async token => OpenedTree.Of(await OpenedImage.OpenAsync(reference, await PinnedAsync(token), observer, loggers, token)), s_idle);
        _withLayers = new(async token => OpenedTree.Of(await OpenedImage.OpenAsync(reference, await PinnedAsync(token) with { ShowsLayers = true }, observer, loggers, token)), s_idle);
        _indexed = new(async token => await IndexedImage.OpenAsync(reference, await PinnedAsync(token), observer, loggers, token), s_idle);
    }

    /// <summary>What it is called in URLs: letters, digits, dots, hyphens and underscores.</summary>
    public string Name { get; }

    /// <summary>As the command line names it.</summary>
    public ImageReference Reference { get; }

    public CommandSettings Settings { get; }

    public ILoggerFactory Loggers { get; }

    /// <summary>The manifest and the config: no layer is looked at.</summary>
    public Task<IdleResource<ResolvedImage>.Lease> UseManifestAsync(CancellationToken cancellationToken) => _resolved.UseAsync(cancellationToken);

    /// <summary>The indexes of all layers, for what each did. No content is read.</summary>
    public Task<IdleResource<IndexedImage>.Lease> UseIndexesAsync(CancellationToken cancellationToken) => _indexed.UseAsync(cancellationToken);

    /// <summary>The merged tree, or one layer by itself.</summary>
    /// <exception cref="ImageException">The image has no such layer, or cannot be opened.</exception>
    public async Task<TreeView> UseTreeAsync(int? layer, CancellationToken cancellationToken)
    {
        if (layer is not int number)
        {
            IdleResource<OpenedTree>.Lease merged = await _merged.UseAsync(cancellationToken);
            return new TreeView(merged, merged.Value.Image.Root, null);
        }
        IdleResource<OpenedTree>.Lease lease = await _withLayers.UseAsync(cancellationToken);
        ImageTree tree = lease.Value.Tree;
        TreeName[] layers = [.. tree.NamesIn(tree.Find(ImageTree.RootId, "layers"u8))];
        if (number < layers.Length)
        {
            return new TreeView(lease, layers[number].Node, number);
        }
        lease.Dispose();
        throw new ImageException(ImageError.NotFound, $"cannot find the layer {number} of '{Reference}': it has {layers.Length}");
    }

    /// <summary>How it is opened: with what the reference led to before.</summary>
    public OpeningOptions Opening => (Settings with { Root = _root }).ToOpening();

    private async Task<ResolvedImage> OpenAsync(CancellationToken cancellationToken)
    {
        ResolvedImage resolved = await ResolvedImage.OpenAsync(Reference, Opening, Loggers, cancellationToken);
        _root ??= resolved.Image.RootDigest;
        return resolved;
    }

    private async Task<OpeningOptions> PinnedAsync(CancellationToken cancellationToken)
    {
        if (_root is null)
        {
            using IdleResource<ResolvedImage>.Lease lease = await _resolved.UseAsync(cancellationToken);
        }
        return Opening;
    }

    public async ValueTask DisposeAsync()
    {
        await _merged.DisposeAsync();
        await _withLayers.DisposeAsync();
        await _indexed.DisposeAsync();
        await _resolved.DisposeAsync();
    }

    private sealed class NoteObserver(ILogger logger) : OpeningObserver
    {
        public override void Note(string sentence) => logger.ImageNote(sentence);
    }
}

/// <summary>A tree that a request looks at. Disposing gives the image back.</summary>
/// <param name="lease">The image.</param>
/// <param name="root">The directory of its tree that is the root here: links do not leave it.</param>
/// <param name="layer">The layer that is shown by itself; null for all of them merged.</param>
internal sealed class TreeView(IdleResource<OpenedTree>.Lease lease, ulong root, int? layer) : IDisposable
{
    public OpenedTree Opened => lease.Value;

    public ImageTree Tree => Opened.Tree;

    public ulong Root => root;

    public int? Layer => layer;

    /// <summary>Finds what a path names.</summary>
    public Errno Resolve(ReadOnlySpan<byte> path, bool follow, out ResolvedPath found) => PathResolver.Resolve(Tree, path, follow, out found, root);

    public void Dispose() => lease.Dispose();
}
