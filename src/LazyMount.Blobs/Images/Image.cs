using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Images;

/// <summary>One resolved image: a manifest for one platform, its config and its layers, all verified by digest.</summary>
public sealed class Image
{
    private const int MaxIndexDepth = 4;
    private const int MaxPlatformsListed = 20;
    private const int MaxLookedInto = 32; // manifests of which the image index does not say the platform

    private const int MaxImages = 100; // of one image index, when all are asked for

    private Image(ImageReference reference, IImageSource source, Digest root, Found found, ReadOnlyMemory<byte> config)
    {
        (RawManifest raw, Manifest manifest) = (found.Raw, found.Manifest);
        IndexEntries = found.IndexEntries;
        Reference = reference;
        RootDigest = root;
        Source = source;
        ManifestDescriptor = raw.Descriptor with { MediaType = manifest.MediaType };
        ManifestBytes = raw.Bytes;
        ConfigDescriptor = manifest.Config;
        ConfigBytes = config;
        Layers = raw.LayerTypes is { } types ? [.. manifest.Layers.Zip(types, (layer, type) => layer with { MediaType = type })] : manifest.Layers;
        ArtifactType = manifest.ArtifactType;
        if (ArtifactType is null && manifest.Config.MediaType.Length > 0 && !MediaTypes.IsImageConfig(manifest.Config.MediaType) && ImageConfig.TryParse(config.Span)?.IsOfImage != true)
            ArtifactType = manifest.Config.MediaType;
        Annotations = manifest.Annotations;
    }

    private Image(Image whole, IReadOnlyList<Descriptor> layers)
    {
        Reference = whole.Reference;
        RootDigest = whole.RootDigest;
        Source = whole.Source;
        ManifestDescriptor = whole.ManifestDescriptor;
        ManifestBytes = whole.ManifestBytes;
        ConfigDescriptor = whole.ConfigDescriptor;
        ConfigBytes = whole.ConfigBytes;
        Layers = layers;
        ArtifactType = whole.ArtifactType;
        Annotations = whole.Annotations;
        IndexEntries = whole.IndexEntries;
    }

    /// <summary>As the user wrote it, normalised.</summary>
    public ImageReference Reference { get; }

    /// <summary>Digest of what the reference names: the manifest, or the image index that led to it.</summary>
    public Digest RootDigest { get; }

    /// <summary>The manifest's descriptor; its digest is the image's identity.</summary>
    public Descriptor ManifestDescriptor { get; }

    /// <summary>The manifest's exact bytes.</summary>
    public ReadOnlyMemory<byte> ManifestBytes { get; }

    /// <summary>The config's descriptor.</summary>
    public Descriptor ConfigDescriptor { get; }

    /// <summary>The config's exact bytes. Those of an artifact that is no container image need not be an image config.</summary>
    public ReadOnlyMemory<byte> ConfigBytes { get; }

    /// <summary>The platform from the image index, else from the config; null when neither has one.</summary>
    public Platform? Platform => ManifestDescriptor.Platform ?? ImageConfig.TryParse(ConfigBytes.Span)?.Platform;

    /// <summary>The type of an artifact that is not a container image; null for a container image. An artifact may have layers with a tree, too.</summary>
    public string? ArtifactType { get; }

    /// <summary>The manifest's annotations. Those that an image index gives it are in <see cref="ManifestDescriptor"/>.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; }

    /// <summary>
    /// All entries of the image indexes that led from the reference to the manifest, outermost first. The digest in a reference vouches
    /// for what they name as it does for the manifest. Empty when the reference names the manifest itself.
    /// </summary>
    public IReadOnlyList<Descriptor> IndexEntries { get; }

    /// <summary>Layers, lowest first.</summary>
    public IReadOnlyList<Descriptor> Layers { get; }

    /// <summary>The same image with one of its layers only.</summary>
    public Image WithLayer(int layer) => new(this, [Layers[layer]]);

    /// <summary>The same image with its lower layers only, up to this one.</summary>
    public Image WithLayersUpTo(int layer) => new(this, [.. Layers.Take(layer + 1)]);

    /// <summary>Where its blobs come from. Not owned.</summary>
    public IImageSource Source { get; }

    /// <summary>
    /// Resolves reference, image index (by platform; null means this machine's) and manifest, and fetches the config.
    /// Manifests and configs found in the cache are not fetched again; what was fetched is kept there. A tag is always
    /// asked of the source; a digest that the cache has asks nobody.
    /// </summary>
    /// <param name="reference">The image.</param>
    /// <param name="source">Where it comes from; not owned.</param>
    /// <param name="platform">Which to choose.</param>
    /// <param name="cache">Where documents are kept.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="root">What the reference led to before, which it is taken to mean; null to resolve it.</param>
    /// <exception cref="ImageException">There is no such image or platform, or what there is cannot be had or used.</exception>
    public static async Task<Image> ResolveAsync(
        ImageReference reference, IImageSource source, Platform? platform, BlobCache cache, CancellationToken cancellationToken, Digest? root = null)
    {
        // :: Step 2: image index, platform, manifest, config.
        var resolution = new Resolution(Pinned(reference, root), source, platform, source.IsLocal ? null : cache);
        Found found = await resolution.FindManifestAsync(cancellationToken).ConfigureAwait(false);
        ReadOnlyMemory<byte> config = await resolution.GetConfigAsync(found.Manifest.Config, cancellationToken).ConfigureAwait(false);
        resolution.CheckPlatform(found, config.Span);
        return new Image(reference, source, resolution.RootDigest, found, config);
    }

    /// <summary>A reference to what another one led to before. A docker archive has no digests to ask for: its file is what it was.</summary>
    public static ImageReference Pinned(ImageReference reference, Digest? root)
        => root is { } digest && reference.Transport != Transport.DockerArchive ? reference.WithDigest(digest) : reference;

    /// <summary>What a reference names, an image index or a manifest, as its source gave it.</summary>
    /// <exception cref="ImageException">There is no such image, or it cannot be had.</exception>
    public static Task<RawManifest> ReadRootAsync(ImageReference reference, IImageSource source, BlobCache cache, CancellationToken cancellationToken)
        => new Resolution(reference, source, null, source.IsLocal ? null : cache).GetRootAsync(cancellationToken);

    /// <summary>
    /// Resolves what a reference names with all its images: those of all platforms of an image index, or the one of <paramref name="platform"/>.
    /// Entries that are not images (attestations, signatures, indexes of layers) are left out.
    /// </summary>
    /// <exception cref="ImageException">There is no such image or platform, or what there is cannot be had or used.</exception>
    public static async Task<ImageSet> ResolveAllAsync(ImageReference reference, IImageSource source, Platform? platform, BlobCache cache, CancellationToken cancellationToken)
    {
        var resolution = new Resolution(reference, source, platform, source.IsLocal ? null : cache);
        RawManifest root = await resolution.GetRootAsync(cancellationToken).ConfigureAwait(false);
        var images = new List<Image>();
        foreach (Found found in await resolution.FindAllAsync(root, cancellationToken).ConfigureAwait(false))
        {
            ReadOnlyMemory<byte> config = await resolution.GetConfigAsync(found.Manifest.Config, cancellationToken).ConfigureAwait(false);
            resolution.CheckPlatform(found, config.Span);
            images.Add(new Image(reference, source, resolution.RootDigest, found, config));
        }
        return new ImageSet(root, images);
    }

    /// <param name="Raw">The manifest's bytes.</param>
    /// <param name="Manifest">The manifest.</param>
    /// <param name="Rank">How well it serves (<see cref="Platform.Rank"/>), when it was chosen from an image index by its platform.</param>
    /// <param name="IndexEntries">The entries of the image indexes that led to it, outermost first.</param>
    private sealed record Found(RawManifest Raw, Manifest Manifest, int? Rank, IReadOnlyList<Descriptor> IndexEntries);

    /// <param name="reference">What is resolved.</param>
    /// <param name="source">Its source.</param>
    /// <param name="platform">What the user asked for, or null.</param>
    /// <param name="cache">Null when the source is local: its files are as good as cached.</param>
    private sealed class Resolution(ImageReference reference, IImageSource source, Platform? platform, BlobCache? cache)
    {
        private readonly Platform _wanted = platform ?? Platform.Local;
        private int _lookedInto;

        /// <summary>Known once the root is read.</summary>
        public Digest RootDigest { get; private set; }

        public async Task<Found> FindManifestAsync(CancellationToken cancellationToken)
        {
            RawManifest root = await GetRootAsync(cancellationToken).ConfigureAwait(false);
            return await FindAsync(root, null, [], 0, cancellationToken).ConfigureAwait(false);
        }

        private async Task<Found> FindAsync(RawManifest raw, int? rank, IReadOnlyList<Descriptor> outer, int depth, CancellationToken cancellationToken)
        {
            ManifestDocument document = Parse(raw, depth);
            if (document is Manifest manifest)
                return new Found(raw, manifest, rank, outer);
            var index = (ImageIndex)document;
            IReadOnlyList<IndexEntry> images = index.Images;
            if (images.Count == 0)
                throw new NoImageException($"cannot use '{reference}': it is an image index without an image; check the name and the tag", []);
            IReadOnlyList<Descriptor> entries = [.. outer, .. index.Manifests];
            (IndexEntry? best, rank) = Choose(images);
            if (best is not null)
                return await FindAsync(await GetManifestAsync(best.Require($"the image index '{reference}'"), cancellationToken).ConfigureAwait(false), rank, entries, depth + 1, cancellationToken).ConfigureAwait(false);
            return await LookIntoAsync(images, entries, depth, cancellationToken).ConfigureAwait(false);
        }

        /// <summary>The manifests of all images; with a platform asked for, of the best.</summary>
        public async Task<IReadOnlyList<Found>> FindAllAsync(RawManifest root, CancellationToken cancellationToken)
        {
            if (platform is not null || Parse(root, 0) is not ImageIndex)
                return [await FindAsync(root, null, [], 0, cancellationToken).ConfigureAwait(false)];
            var found = new List<Found>();
            await AddAllAsync(root, null, [], 0, found, cancellationToken).ConfigureAwait(false);
            return found.Count > 0 ? found : throw new NoImageException($"cannot use '{reference}': it is an image index without an image; check the name and the tag", []);
        }

        private async Task AddAllAsync(RawManifest raw, int? rank, IReadOnlyList<Descriptor> outer, int depth, List<Found> found, CancellationToken cancellationToken)
        {
            switch (Parse(raw, depth))
            {
                case ImageIndex index:
                    IReadOnlyList<Descriptor> entries = [.. outer, .. index.Manifests];
                    foreach (IndexEntry entry in index.Images)
                        await AddAllAsync(await GetManifestAsync(entry.Require($"the image index '{reference}'"), cancellationToken).ConfigureAwait(false), 0, entries, depth + 1, found, cancellationToken).ConfigureAwait(false);
                    break;
                case Manifest { ArtifactType: null } manifest when !found.Exists(each => each.Raw.Descriptor.Digest == raw.Descriptor.Digest):
                    if (found.Count == MaxImages)
                        throw new ImageException(ImageError.Invalid, $"cannot use all images of '{reference}': it has more than {MaxImages}; choose one with --platform");
                    found.Add(new Found(raw, manifest, rank, outer));
                    break;
            }
        }

        private ManifestDocument Parse(RawManifest raw, int depth)
        {
            ManifestDocument document = ManifestDocument.Parse(raw.Bytes.Span, raw.Descriptor.MediaType, $"the manifest {raw.Descriptor.Digest} of '{reference}'");
            return document is ImageIndex && depth == MaxIndexDepth
                ? throw new ImageException(ImageError.Invalid, $"cannot use '{reference}': its image indexes are nested more than {MaxIndexDepth} deep; push or copy the image again")
                : document;
        }

        /// <summary>The best of the entries that say nothing of their platform: what they name tells it, nested indexes and configs.</summary>
        private async Task<Found> LookIntoAsync(IReadOnlyList<IndexEntry> images, IReadOnlyList<Descriptor> entries, int depth, CancellationToken cancellationToken)
        {
            List<Platform> offered = [.. images.Select(image => image.Platform).OfType<Platform>()];
            Found? best = null;
            foreach (Descriptor image in images.Where(image => image.Platform is null).Select(image => image.Descriptor).OfType<Descriptor>())
            {
                if (++_lookedInto > MaxLookedInto)
                    break;
                try
                {
                    Found found = await FindAsync(await GetManifestAsync(image, cancellationToken).ConfigureAwait(false), null, entries, depth + 1, cancellationToken).ConfigureAwait(false);
                    if (found.Rank is null && found.Manifest.ArtifactType is null)
                    {
                        ReadOnlyMemory<byte> config = await GetConfigAsync(found.Manifest.Config, cancellationToken).ConfigureAwait(false);
                        if (ImageConfig.TryParse(config.Span)?.Platform is { } told)
                        {
                            offered.Add(told);
                            found = found with { Rank = _wanted.Rank(told) };
                        }
                    }
                    if (found.Rank >= 0 && (best is null || found.Rank < best.Rank))
                        best = found;
                }
                catch (NoImageException e)
                {
                    offered.AddRange(e.Offered);
                }
            }
            return best ?? throw NoPlatform(offered);
        }

        public async Task<ReadOnlyMemory<byte>> GetConfigAsync(Descriptor config, CancellationToken cancellationToken)
        {
            if (config.Data is { } data)
                return data;
            if (config.Size > ImageConfig.MaxSize)
                throw new ImageException(ImageError.Invalid, $"cannot use the config of '{reference}': it has {config.Size} bytes, more than the maximum of {ImageConfig.MaxSize}");
            if (cache?.TryRead(config.Digest, ImageConfig.MaxSize) is { } cached)
                return cached;

            byte[] bytes = new byte[config.Size];
            do
            {
                Stream stream = await source.OpenBlobAsync(config, 0, config.Size, cancellationToken).ConfigureAwait(false);
                await using (stream.ConfigureAwait(false))
                    await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
            }
            while (!config.Digest.Verifies(bytes) && source.Distrust(config));
            if (!config.Digest.Verifies(bytes))
                throw new ImageException(ImageError.Verification, $"cannot use the config of '{reference}': it does not match its digest {config.Digest}; push or copy the image again");
            cache?.Keep(config, bytes);
            return bytes;
        }

        /// <summary>
        /// An image without an index has its platform in its config: another than the one asked for is as bad as none. Where an
        /// index named the platform its word counts: configs often leave the variant out.
        /// </summary>
        public void CheckPlatform(Found found, ReadOnlySpan<byte> config)
        {
            if (platform is not null && found.Rank is null && ImageConfig.TryParse(config)?.Platform is { } offered && platform.Rank(offered) < 0)
                throw NoPlatform([offered]);
        }

        public async Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
        {
            RawManifest root = await ReadRootAsync(cancellationToken).ConfigureAwait(false);
            RootDigest = root.Descriptor.Digest;
            return root;
        }

        private async Task<RawManifest> ReadRootAsync(CancellationToken cancellationToken)
        {
            if (reference.Digest is { } digest && cache?.TryRead(digest, ManifestDocument.MaxSize) is { } cached)
                return new RawManifest(new Descriptor("", digest, cached.Length), cached);
            RawManifest root = Keep(await source.GetRootAsync(cancellationToken).ConfigureAwait(false));
            // A layout's index.json annotates what it names, and no digest covers index.json.
            root = root with { Descriptor = root.Descriptor with { Annotations = null } };
            cache?.Remember(reference, root.Descriptor);
            return root;
        }

        private async Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        {
            if (descriptor.Size > ManifestDocument.MaxSize)
                throw new ImageException(ImageError.Invalid, $"cannot use the manifest {descriptor.Digest} of '{reference}': it has {descriptor.Size} bytes, more than the maximum of {ManifestDocument.MaxSize}");
            if (descriptor.Data is { } data)
                return new RawManifest(descriptor, data);
            if (cache?.TryRead(descriptor.Digest, ManifestDocument.MaxSize) is { } cached && (cached.Length == descriptor.Size || descriptor.Size == Descriptor.UnknownSize))
                return new RawManifest(descriptor with { Size = cached.Length }, cached);
            RawManifest raw = Keep(await source.GetManifestAsync(descriptor, cancellationToken).ConfigureAwait(false));
            return raw with { Descriptor = descriptor with { Size = raw.Bytes.Length } };
        }

        private RawManifest Keep(RawManifest raw)
        {
            cache?.Keep(raw.Descriptor, raw.Bytes.Span);
            return raw;
        }

        // The best match, the first of equals that is sound. An entry that says nothing of its platform is taken when it is all there
        // is: layouts nest an index so, and CheckPlatform has the last word. Null: the entries do not tell.
        private (IndexEntry?, int? Rank) Choose(IReadOnlyList<IndexEntry> images)
        {
            (IndexEntry? best, int? bestRank) = (null, null);
            foreach (IndexEntry image in images)
            {
                if (image.Platform is { } offered && _wanted.Rank(offered) is var rank && rank >= 0
                    && (bestRank is null || rank < bestRank || (rank == bestRank && best!.Descriptor is null && image.Descriptor is not null)))
                {
                    (best, bestRank) = (image, rank);
                }
            }
            if (best is null && images.All(image => image.Platform is null && image.DigestText == images[0].DigestText))
                best = images[0];
            return (best, bestRank);
        }

        private NoImageException NoPlatform(IReadOnlyList<Platform> offered)
        {
            List<string> names = [.. offered.Select(each => Printable.Of(each.ToString())).Distinct().Take(MaxPlatformsListed + 1)];
            string list = string.Join(", ", names.Take(MaxPlatformsListed)) + (names.Count > MaxPlatformsListed ? ", …" : "");
            return new NoImageException($"cannot find an image for {_wanted} in '{reference}': {(list.Length == 0 ? "its images name no platform" : $"it has {list}")}; choose one with --platform", offered);
        }
    }

    private sealed class NoImageException(string message, IReadOnlyList<Platform> offered) : ImageException(ImageError.NotFound, message)
    {
        public IReadOnlyList<Platform> Offered { get; } = offered;
    }
}
