using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs;

/// <summary>One resolved image: a manifest for one platform, its config and its layers, all verified by digest.</summary>
public sealed class Image
{
    private const int MaxIndexDepth = 4;
    private const int MaxPlatformsListed = 20;

    private Image(ImageReference reference, IImageSource source, RawManifest raw, Manifest manifest, ReadOnlyMemory<byte> config)
    {
        Reference = reference;
        Source = source;
        ManifestDescriptor = raw.Descriptor with { MediaType = manifest.MediaType };
        ManifestBytes = raw.Bytes;
        ConfigDescriptor = manifest.Config;
        ConfigBytes = config;
        Layers = manifest.Layers;
        ArtifactType = manifest.ArtifactType;
        Annotations = manifest.Annotations;
    }

    private Image(Image whole, IReadOnlyList<Descriptor> layers)
    {
        Reference = whole.Reference;
        Source = whole.Source;
        ManifestDescriptor = whole.ManifestDescriptor;
        ManifestBytes = whole.ManifestBytes;
        ConfigDescriptor = whole.ConfigDescriptor;
        ConfigBytes = whole.ConfigBytes;
        Layers = layers;
        ArtifactType = whole.ArtifactType;
        Annotations = whole.Annotations;
    }

    /// <summary>As the user wrote it, normalised.</summary>
    public ImageReference Reference { get; }

    /// <summary>The manifest's descriptor; its digest is the image's identity.</summary>
    public Descriptor ManifestDescriptor { get; }

    /// <summary>The manifest's exact bytes.</summary>
    public ReadOnlyMemory<byte> ManifestBytes { get; }

    /// <summary>The config's descriptor.</summary>
    public Descriptor ConfigDescriptor { get; }

    /// <summary>The config's exact bytes. Those of an artifact that is no container image need not be an image config.</summary>
    public ReadOnlyMemory<byte> ConfigBytes { get; }

    /// <summary>Null for a container image; else what other artifact it is. It may have a tree all the same.</summary>
    public string? ArtifactType { get; }

    /// <summary>The manifest's annotations. Those that an image index gives it are in <see cref="ManifestDescriptor"/>.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; }

    /// <summary>Layers, lowest first.</summary>
    public IReadOnlyList<Descriptor> Layers { get; }

    /// <summary>The same image with one of its layers only.</summary>
    public Image WithLayer(int layer) => new(this, [Layers[layer]]);

    /// <summary>Where its blobs come from. Not owned.</summary>
    public IImageSource Source { get; }

    /// <summary>
    /// Resolves reference, image index (by platform; null means this machine's) and manifest, and fetches the config.
    /// Manifests and configs found in the cache are not fetched again; what was fetched is kept there. A tag is always
    /// asked of the source; a digest that the cache has asks nobody.
    /// </summary>
    /// <exception cref="ImageException">There is no such image or platform, or what there is cannot be had or used.</exception>
    public static async Task<Image> ResolveAsync(ImageReference reference, IImageSource source, Platform? platform, BlobCache cache, CancellationToken cancellationToken)
    {
        var resolution = new Resolution(reference, source, platform, source.IsLocal ? null : cache);
        (RawManifest raw, Manifest manifest) = await resolution.FindManifestAsync(cancellationToken).ConfigureAwait(false);
        ReadOnlyMemory<byte> config = await resolution.GetConfigAsync(manifest.Config, cancellationToken).ConfigureAwait(false);
        resolution.CheckPlatform(config.Span);
        return new Image(reference, source, raw, manifest, config);
    }

    /// <param name="reference">What is resolved.</param>
    /// <param name="source">Its source.</param>
    /// <param name="platform">What the user asked for, or null.</param>
    /// <param name="cache">Null when the source is local: its files are as good as cached.</param>
    private sealed class Resolution(ImageReference reference, IImageSource source, Platform? platform, BlobCache? cache)
    {
        private bool _chosen; // by its platform, from an image index

        public async Task<(RawManifest, Manifest)> FindManifestAsync(CancellationToken cancellationToken)
        {
            RawManifest raw = await GetRootAsync(cancellationToken).ConfigureAwait(false);
            for (int depth = 0; depth <= MaxIndexDepth; depth++)
            {
                ManifestDocument document = ManifestDocument.Parse(raw.Bytes.Span, raw.Descriptor.MediaType, $"the manifest {raw.Descriptor.Digest} of {reference}");
                if (document is Manifest manifest)
                    return (raw, manifest);
                raw = await GetManifestAsync(Choose((ImageIndex)document), cancellationToken).ConfigureAwait(false);
            }
            throw new ImageException(ImageError.Invalid, $"{reference} has image indexes nested more than {MaxIndexDepth} deep: the image must be pushed again.");
        }

        public async Task<ReadOnlyMemory<byte>> GetConfigAsync(Descriptor config, CancellationToken cancellationToken)
        {
            if (config.Size > ImageConfig.MaxSize)
                throw new ImageException(ImageError.Invalid, $"The config of {reference} has {config.Size} bytes; {ImageConfig.MaxSize} is the most that is accepted.");
            if (cache?.TryRead(config.Digest, ImageConfig.MaxSize) is { } cached)
                return cached;

            byte[] bytes = new byte[config.Size];
            Stream stream = await source.OpenBlobAsync(config, 0, config.Size, cancellationToken).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
                await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
            if (!config.Digest.Verifies(bytes))
                throw new ImageException(ImageError.Verification, $"The config of {reference} does not match its digest {config.Digest}; its source is at fault, push or copy the image again.");
            cache?.Keep(config, bytes);
            return bytes;
        }

        /// <summary>
        /// An image without an index has its platform in its config: another than the one asked for is as bad as none. Where an
        /// index named the platform its word counts: configs often leave the variant out.
        /// </summary>
        public void CheckPlatform(ReadOnlySpan<byte> config)
        {
            if (platform is not null && !_chosen && ImageConfig.TryParse(config)?.Platform is { } offered && platform.Rank(offered) < 0)
                throw NoPlatform(platform, [offered]);
        }

        private async Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
        {
            if (reference.Digest is { } digest && cache?.TryRead(digest, ManifestDocument.MaxSize) is { } cached)
                return new RawManifest(new Descriptor("", digest, cached.Length), cached);
            RawManifest root = Keep(await source.GetRootAsync(cancellationToken).ConfigureAwait(false));
            cache?.Remember(reference, root.Descriptor);
            return root;
        }

        private async Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        {
            if (descriptor.Size > ManifestDocument.MaxSize)
                throw new ImageException(ImageError.Invalid, $"The manifest {descriptor.Digest} of {reference} has {descriptor.Size} bytes; {ManifestDocument.MaxSize} is the most that is accepted.");
            if (cache?.TryRead(descriptor.Digest, ManifestDocument.MaxSize) is { } cached && cached.Length == descriptor.Size)
                return new RawManifest(descriptor, cached);
            RawManifest raw = Keep(await source.GetManifestAsync(descriptor, cancellationToken).ConfigureAwait(false));
            return raw with { Descriptor = descriptor };
        }

        private RawManifest Keep(RawManifest raw)
        {
            cache?.Keep(raw.Descriptor, raw.Bytes.Span);
            return raw;
        }

        // The best match, the first of equals. An entry that says nothing of its platform is taken when it is all there
        // is: layouts nest an index so, and CheckPlatform has the last word.
        private Descriptor Choose(ImageIndex index)
        {
            Platform wanted = platform ?? Platform.Local;
            List<Descriptor> images = [.. index.Images];
            if (images.Count == 0)
                throw new ImageException(ImageError.NotFound, $"{reference} is an image index without an image in it: check the name and the tag.");

            Descriptor? best = null;
            int bestRank = int.MaxValue;
            foreach (Descriptor image in images)
            {
                if (image.Platform is { } offered && wanted.Rank(offered) is var rank && rank >= 0 && rank < bestRank)
                    (best, bestRank) = (image, rank);
            }
            _chosen = best is not null;
            if (best is null && images.TrueForAll(image => image.Platform is null && image.Digest == images[0].Digest))
                best = images[0];
            return best ?? throw NoPlatform(wanted, images.Select(image => image.Platform).OfType<Platform>());
        }

        private ImageException NoPlatform(Platform wanted, IEnumerable<Platform> offered)
        {
            List<string> names = [.. offered.Select(each => Printable.Of(each.ToString())).Distinct().Take(MaxPlatformsListed + 1)];
            string list = string.Join(", ", names.Take(MaxPlatformsListed)) + (names.Count > MaxPlatformsListed ? ", …" : "");
            return new ImageException(ImageError.NotFound, $"{reference} has no image for {wanted}, only for {(list.Length == 0 ? "platforms that it does not name" : list)}: choose one with --platform.");
        }
    }
}
