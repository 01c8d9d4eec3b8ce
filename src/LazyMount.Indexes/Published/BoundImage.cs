using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Published.Soci;

namespace LazyMount.Indexes.Published;

/// <summary>
/// Publishes an image index that names images together with the indexes of their layers. A reference to the image index by
/// digest vouches for both, so the images are lazy and pinned. Other tools find the images in it as ever: by platform.
/// </summary>
public sealed class BoundImage
{
    private readonly ImageSet _images;
    private readonly IArtifactTarget _target;
    private readonly string _tag;
    private readonly bool _replaces;
    private readonly RawManifest? _tagged;
    private readonly ImageIndexBuilder _index;
    private readonly List<RawManifest> _manifests = [];
    private bool _isEmpty = true;

    private BoundImage(ImageSet images, IArtifactTarget target, string tag, bool replaces, RawManifest? tagged)
    {
        (_images, _target, _tag, _replaces, _tagged) = (images, target, tag, replaces, tagged);
        _index = ManifestDocument.Parse(images.Root.Bytes.Span, images.Root.Descriptor.MediaType, $"the manifest of '{Source}'") is ImageIndex
            ? new ImageIndexBuilder(images.Root)
            : new ImageIndexBuilder(images.Images[0].ManifestDescriptor.ToBare() with { Platform = images.Images[0].Platform });
    }

    private ImageReference Source => _images.Images[0].Reference;

    /// <summary>
    /// Begins with all entries that the image has. A tag that names another image is refused here, before layers are indexed; whether
    /// a tag that names such an image index names this one is known at the end.
    /// </summary>
    /// <param name="images">The images.</param>
    /// <param name="target">Their source.</param>
    /// <param name="tag">The tag that is to name the image index.</param>
    /// <param name="replaces">True: what the tag names now is replaced.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ImageException">The tag is taken, or the target cannot be asked.</exception>
    public static async Task<BoundImage> BeginAsync(ImageSet images, IArtifactTarget target, string tag, bool replaces, CancellationToken cancellationToken)
    {
        RawManifest? tagged = await target.TryGetTaggedAsync(tag, cancellationToken).ConfigureAwait(false);
        var bound = new BoundImage(images, target, tag, replaces, tagged);
        return tagged is null || replaces || IsBound(tagged) ? bound : throw bound.Taken();
    }

    /// <summary>Names an image's indexes of our own. The image's manifest stays as it is.</summary>
    public void Add(Image image, Descriptor artifact)
    {
        _isEmpty = false;
        string manifest = image.ManifestDescriptor.Digest.ToString();
        _index.Put(ImageIndex.LayerIndexesOf, manifest, LayerIndexArtifact.DescribeIn(artifact, manifest));
    }

    /// <summary>Names an image's SOCI index of version 2, which the image's manifest has to name as well: that makes a new manifest.</summary>
    /// <returns>The new manifest.</returns>
    /// <exception cref="ImageException">The manifest stands in a nested image index.</exception>
    public Descriptor AddSoci(Image image, Descriptor artifact)
    {
        _isEmpty = false;
        RawManifest manifest = AnnotatedManifest.Create(image, SociIndex.Naming(artifact.Digest));
        _manifests.Add(manifest);
        (Digest old, Digest @new) = (image.ManifestDescriptor.Digest, manifest.Descriptor.Digest);
        if (old != @new)
        {
            _index.Remove(ImageIndex.LayerIndexesOf, of => of == old.ToString()); // it is of the old manifest
        }
        if (_index.Replace(old, manifest.Descriptor) == 0)
        {
            throw new ImageException(ImageError.Unsupported, $"cannot bind a SOCI index to the manifest {old} of '{Source}': the manifest is in a nested image index, and both indexes would change; name the inner image index by its digest");
        }
        _index.Put(ImageIndex.SociIndexOf, old.ToString(), SociIndex.DescribeIn(artifact, @new, image.Platform));
        return manifest.Descriptor;
    }

    /// <summary>Pushes the image index, and last lets the tag name it. Nothing happens when the tag names it already.</summary>
    /// <returns>The image index.</returns>
    /// <exception cref="ImageException">The tag is taken, or the target refuses.</exception>
    public async Task<Descriptor> PublishAsync(CancellationToken cancellationToken)
    {
        if (_isEmpty)
        {
            throw new InvalidOperationException("an image index without indexes binds nothing");
        }
        RawManifest index = _index.Build();
        if (index.Bytes.Length > ManifestDocument.MaxSize)
        {
            throw new ImageException(ImageError.Invalid, $"cannot push the image index of '{Source}': it would have {index.Bytes.Length} bytes, more than the {ManifestDocument.MaxSize} that registries accept; choose one platform with --platform");
        }
        if (_tagged?.Descriptor.Digest == index.Descriptor.Digest)
        {
            return index.Descriptor;
        }
        if (_tagged is not null && !_replaces)
        {
            throw Taken();
        }
        foreach (RawManifest manifest in _manifests)
        {
            await _target.PushManifestAsync(manifest, null, cancellationToken).ConfigureAwait(false);
        }
        await _target.PushManifestAsync(index, _tag, cancellationToken).ConfigureAwait(false);
        return index.Descriptor;
    }

    private ImageException Taken()
        => new(ImageError.Invalid, $"cannot tag '{Source.WithTag(_tag)}': the tag names another image ({_tagged!.Descriptor.Digest}); choose another tag, or replace it with --force");

    private static bool IsBound(RawManifest manifest)
    {
        try
        {
            return ManifestDocument.Parse(manifest.Bytes.Span, manifest.Descriptor.MediaType, "") is ImageIndex index
                && index.Manifests.Any(entry => entry.Annotations is { } annotations && (annotations.ContainsKey(ImageIndex.LayerIndexesOf) || annotations.ContainsKey(ImageIndex.SociIndexOf)));
        }
        catch (ImageException)
        {
            return false; // something else that the tag names
        }
    }
}
