using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Layout;

/// <summary>One image of an OCI image layout (image-spec v1.1, image-layout.md).</summary>
internal sealed class OciLayout : IImageSource, IArtifactTarget
{
    private const string RefName = "org.opencontainers.image.ref.name";
    private const string ContainerdName = "io.containerd.image.name";
    private const string IndexFile = "index.json";
    private const int MaxMarkerSize = 64 << 10;
    private const int MaxTagsListed = 20;
    private const int MaxManifestsRead = 1000; // in search of referrers

    private readonly ImageReference _reference;
    private readonly LayoutFiles _files;

    public OciLayout(ImageReference reference)
        : this(reference, new LayoutDirectory(reference))
    {
    }

    /// <summary>Owns the files, also when it throws because they are no layout.</summary>
    public OciLayout(ImageReference reference, LayoutFiles files)
    {
        (_reference, _files) = (reference, files);
        try
        {
            CheckMarker();
        }
        catch
        {
            files.Dispose();
            throw;
        }
    }

    public bool IsLocal => true;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
    {
        byte[] bytes = ReadFile(IndexFile, ManifestDocument.MaxSize);
        ImageIndex index = ParseIndex(bytes);
        return _reference is { Tag: null, SourceIndex: null } && IsOneImage(index)
            ? Task.FromResult(new RawManifest(new Descriptor(MediaTypes.OciIndex, Digest.OfSha256(bytes), bytes.Length), bytes))
            : GetManifestAsync(Choose(index), cancellationToken);
    }

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        string path = PathOf(descriptor.Digest);
        byte[] bytes = ReadFile(path, ManifestDocument.MaxSize);
        if ((bytes.Length != descriptor.Size && descriptor.Size != Descriptor.UnknownSize) || !descriptor.Digest.Verifies(bytes))
            throw new ImageException(ImageError.Verification, $"The manifest in {_files.NameOf(path)} does not match its digest and size: the layout is damaged, copy the image again.");
        return Task.FromResult(new RawManifest(descriptor, bytes));
    }

    public Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, blob.Size - offset);
        cancellationToken.ThrowIfCancellationRequested();
        string path = PathOf(blob.Digest);
        Stream stream = _files.Open(path, offset, length, out long size);
        if (size == blob.Size)
            return Task.FromResult(stream);
        stream.Dispose();
        throw new ImageException(ImageError.Verification, $"The blob in {_files.NameOf(path)} has {size} bytes where the manifest says {blob.Size}: the layout is damaged, copy the image again.");
    }

    /// <summary>Those that index.json names, itself or by an image index, and whose subject it is.</summary>
    public Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
    {
        var found = new List<Descriptor>();
        var seen = new HashSet<Digest> { subject };
        var waiting = new Queue<Descriptor>(ReadIndex().Manifests);
        while (waiting.TryDequeue(out Descriptor? next) && seen.Count <= MaxManifestsRead)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (seen.Add(next.Digest) && (string.IsNullOrEmpty(next.ArtifactType) || artifactTypes.Contains(next.ArtifactType)))
            {
                switch (TryReadManifest(next))
                {
                    case Manifest manifest when manifest.Subject?.Digest == subject && manifest.ArtifactType is { } type && artifactTypes.Contains(type):
                        found.Add(next with { ArtifactType = type, Annotations = manifest.Annotations });
                        break;
                    case ImageIndex index:
                        index.Manifests.ToList().ForEach(waiting.Enqueue);
                        break;
                }
            }
        }
        string? first = artifactTypes.FirstOrDefault(type => found.Exists(each => each.ArtifactType == type));
        return Task.FromResult<IReadOnlyList<Descriptor>>(found.FindAll(each => each.ArtifactType == first));
    }

    public Task<bool> PushBlobAsync(Descriptor blob, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        string path = PathOf(blob.Digest);
        bool isNew = !_files.Exists(path);
        if (isNew)
            _files.Write(path, bytes.Span);
        return Task.FromResult(isNew);
    }

    public async Task PushReferrerAsync(RawManifest manifest, Digest subject, CancellationToken cancellationToken)
    {
        await PushBlobAsync(manifest.Descriptor, manifest.Bytes, cancellationToken).ConfigureAwait(false);
        byte[] index = ReadFile(IndexFile, ManifestDocument.MaxSize);
        ParseIndex(index);
        if (ArtifactManifest.AddTo(index, manifest.Descriptor) is { } added)
            _files.Write(IndexFile, added);
    }

    public ValueTask DisposeAsync()
    {
        _files.Dispose();
        return ValueTask.CompletedTask;
    }

    private void CheckMarker()
    {
        const string Marker = "oci-layout";
        string? version = null;
        try
        {
            using JsonDocument json = JsonDocument.Parse(ReadFile(Marker, MaxMarkerSize));
            if (json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty("imageLayoutVersion", out JsonElement element))
                version = element.ValueKind == JsonValueKind.String ? element.GetString() : null;
        }
        catch (ImageException e) when (e.Error == ImageError.NotFound)
        {
            throw new ImageException(ImageError.Invalid, $"{_reference.Location} is not an OCI layout: it has no file oci-layout; make one with skopeo copy IMAGE {_reference.Place}:TAG.", e);
        }
        catch (JsonException e)
        {
            throw new ImageException(ImageError.Invalid, $"{Sentence(_files.NameOf(Marker))} is not JSON: the layout is damaged, copy the image again.", e);
        }
        if (version?.StartsWith("1.", StringComparison.Ordinal) != true)
            throw new ImageException(ImageError.Unsupported, $"{_reference.Location} is an OCI layout of version \"{Printable.Of(version ?? "")}\"; only version 1 is supported.");
    }

    private ImageIndex ReadIndex() => ParseIndex(ReadFile(IndexFile, ManifestDocument.MaxSize));

    private ImageIndex ParseIndex(byte[] bytes)
        => ManifestDocument.Parse(bytes, MediaTypes.OciIndex, $"the index.json of {_reference.Location}") as ImageIndex
            ?? throw new ImageException(ImageError.Invalid, $"The index.json of {_reference.Location} is not an image index: it is not an OCI layout.");

    /// <summary>Null for what cannot be read: whether others left something broken beside the image is not its user's business.</summary>
    private ManifestDocument? TryReadManifest(Descriptor descriptor)
    {
        try
        {
            byte[] bytes = ReadFile(PathOf(descriptor.Digest), ManifestDocument.MaxSize);
            return bytes.Length == descriptor.Size && descriptor.Digest.Verifies(bytes) ? ManifestDocument.Parse(bytes, descriptor.MediaType, "") : null;
        }
        catch (ImageException)
        {
            return null;
        }
    }

    /// <summary>Some writers put the image index itself there: one entry for each platform, and no names that tell them apart.</summary>
    private static bool IsOneImage(ImageIndex index)
    {
        List<Descriptor> images = [.. index.Images];
        return images.Count > 1
            && images.TrueForAll(image => image.Platform is not null && Name(image) == Name(images[0]))
            && images.DistinctBy(image => image.Platform).Count() == images.Count;
    }

    private Descriptor Choose(ImageIndex index)
    {
        if (_reference.SourceIndex is { } number)
        {
            return number < index.Manifests.Count ? index.Manifests[number]
                : throw new ImageException(ImageError.NotFound, $"{_reference.Location} has no image @{number}: its index.json lists {index.Manifests.Count}, counted from @0.");
        }
        List<Descriptor> images = [.. index.Images];
        List<Descriptor> named = _reference.Tag is null ? images : images.FindAll(image => IsNamed(image, _reference.Tag));
        // The same image under several names, or twice under one, is one image.
        if (named.Count > 0 && named.TrueForAll(image => image.Digest == named[0].Digest))
            return named[0];
        if (images.Count == 0)
            throw new ImageException(ImageError.NotFound, $"The layout {_reference.Location} holds no image: copy one into it with skopeo copy IMAGE {_reference.Place}:TAG.");

        List<string> tags = [.. images.Select(Name).OfType<string>().Distinct().Select(Printable.Of)];
        string list = tags.Count == 0 ? $"it holds {images.Count} images without a tag"
            : $"it has {string.Join(", ", tags.Take(MaxTagsListed))}{(tags.Count > MaxTagsListed ? ", …" : "")}";
        throw new ImageException(ImageError.NotFound, (_reference.Tag, named.Count) switch
        {
            (null, _) => $"{_reference} names no single image: {list}; choose one with {_reference.Place}:TAG or by its number with {_reference.Place}:@0.",
            (_, 0) => $"{_reference.Location} has no image tagged {_reference.Tag}: {list}; choose one with {_reference.Place}:TAG.",
            _ => $"{_reference} names {named.Count} images: choose one by its number with {_reference.Place}:@0, or give each a tag of its own.",
        });
    }

    private static bool IsNamed(Descriptor image, string tag)
        => image.Annotations is { } annotations
            && ((annotations.TryGetValue(RefName, out string? name) && name == tag) || (annotations.TryGetValue(ContainerdName, out name) && name == tag));

    private static string? Name(Descriptor image)
        => image.Annotations is { } annotations && (annotations.TryGetValue(RefName, out string? name) || annotations.TryGetValue(ContainerdName, out name)) ? name : null;

    private static string PathOf(Digest digest) => $"blobs/{digest.Algorithm}/{digest.Hex}";

    private byte[] ReadFile(string path, int maxSize)
    {
        using Stream stream = _files.Open(path, 0, null, out long size);
        if (size > maxSize)
            throw new ImageException(ImageError.Invalid, $"{Sentence(_files.NameOf(path))} has {size} bytes; {maxSize} is the most that is accepted.");
        byte[] bytes = new byte[size];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static string Sentence(string text) => char.ToUpperInvariant(text[0]) + text[1..];
}
