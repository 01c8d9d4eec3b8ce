using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>One image of an OCI image layout (image-spec v1.1, image-layout.md).</summary>
internal sealed class OciLayout : IImageSource, IArtifactTarget
{
    private const string RefName = "org.opencontainers.image.ref.name";
    private const string ContainerdName = "io.containerd.image.name";
    private const string IndexFile = "index.json";
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
            CheckMarker(files, reference);
        }
        catch
        {
            files.Dispose();
            throw;
        }
    }

    public bool IsLocal => true;

    public bool IsVerified => true;

    public bool Distrust(Descriptor blob) => false;

    public Digest? DiffIdOf(Digest blob) => null;

    public SafeFileHandle? Archive => _files.Archive;

    public IAsyncEnumerable<string> ListTagsAsync(Action<string> note, CancellationToken cancellationToken)
        => ReadIndex().Entries.Select(Name).OfType<string>().Distinct().ToAsyncEnumerable();

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
    {
        if (_reference.Digest is { } digest)
        {
            return _files.Exists(PathOf(digest)) ? GetManifestAsync(new Descriptor("", digest, Descriptor.UnknownSize), cancellationToken)
                : throw new ImageException(ImageError.NotFound, $"cannot find the manifest {digest} in the layout '{_reference.Location}': it is not there; check the digest, or choose an image with {_reference.Place}:TAG");
        }
        byte[] bytes = _files.ReadAll(IndexFile, ManifestDocument.MaxSize);
        ImageIndex index = ParseIndex(bytes);
        List<IndexEntry> chosen = Choose(index);
        if (chosen.Count == 1)
            return GetManifestAsync(chosen[0].Require($"the index.json of '{_reference.Location}'"), cancellationToken);
        if (chosen.Count < index.Images.Count)
        {
            HashSet<string> platforms = [.. chosen.Select(entry => entry.DigestText)];
            bytes = new IndexText(bytes).Only(entry => platforms.Contains(entry.DigestText));
        }
        return Task.FromResult(new RawManifest(new Descriptor(MediaTypes.OciIndex, Digest.OfSha256(bytes), bytes.Length), bytes));
    }

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (descriptor.Data is { } data)
            return Task.FromResult(new RawManifest(descriptor, data));
        string path = PathOf(descriptor.Digest);
        byte[] bytes = _files.ReadAll(path, ManifestDocument.MaxSize);
        if ((bytes.Length != descriptor.Size && descriptor.Size != Descriptor.UnknownSize) || !descriptor.Digest.Verifies(bytes))
            throw new ImageException(ImageError.Verification, $"cannot use the manifest in {_files.NameOf(path)}: it does not match its digest and size; copy the image again");
        return Task.FromResult(new RawManifest(descriptor with { Size = bytes.Length }, bytes));
    }

    public Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, blob.Size - offset);
        cancellationToken.ThrowIfCancellationRequested();
        if (blob.OpenData(offset, length) is { } data)
            return Task.FromResult(data);
        string path = PathOf(blob.Digest);
        Stream stream = _files.Open(path, offset, length, out long size);
        if (size == blob.Size)
            return Task.FromResult(stream);
        stream.Dispose();
        throw new ImageException(ImageError.Verification, $"cannot use the blob in {_files.NameOf(path)}: it has {size} bytes, but the manifest says {blob.Size}; copy the image again");
    }

    /// <summary>The referrers that index.json names, directly or through an image index, and whose subject is the given digest.</summary>
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
        await _files.ChangeAsync(IndexFile, ManifestDocument.MaxSize, AddTo, cancellationToken).ConfigureAwait(false);

        byte[]? AddTo(ReadOnlyMemory<byte>? index)
        {
            if (index is { } bytes)
                ParseIndex(bytes.Span);
            return ArtifactManifest.AddTo(index, manifest.Descriptor);
        }
    }

    public async Task PushManifestAsync(RawManifest manifest, string? tag, CancellationToken cancellationToken)
    {
        await PushBlobAsync(manifest.Descriptor, manifest.Bytes, cancellationToken).ConfigureAwait(false);
        if (tag is null)
            return;
        Descriptor entry = manifest.Descriptor.ToBare() with { Annotations = new Dictionary<string, string> { [RefName] = tag } };
        await _files.ChangeAsync(IndexFile, ManifestDocument.MaxSize, Enter, cancellationToken).ConfigureAwait(false);

        byte[] Enter(ReadOnlyMemory<byte>? index)
        {
            if (index is { } bytes)
                ParseIndex(bytes.Span);
            return new IndexText(index ?? ArtifactManifest.EmptyIndex).With(each => !IsNamed(each, tag), ArtifactManifest.EntryOf(entry));
        }
    }

    public async Task<RawManifest?> TryGetTaggedAsync(string tag, CancellationToken cancellationToken)
        => ReadIndex().Entries.LastOrDefault(entry => entry.Descriptor is not null && IsNamed(entry, tag)) is { Descriptor: { } tagged } ? await GetManifestAsync(tagged, cancellationToken).ConfigureAwait(false) : null;

    public ValueTask DisposeAsync()
    {
        _files.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>Refuses what is no layout of version 1.</summary>
    internal static void CheckMarker(LayoutFiles files, ImageReference reference)
    {
        string version;
        try
        {
            version = GoJsonReader.Read(files.ReadAll(LayoutMarker.File, LayoutMarker.MaxSize), LayoutMarker.Form.Read).Version;
        }
        catch (ImageException e) when (e.Error == ImageError.NotFound)
        {
            if (files.Exists(IndexFile))
                return; // some writers leave the marker out, and most readers do not look at it
            throw NoLayout(reference, "no index.json", e);
        }
        catch (JsonException e)
        {
            throw new ImageException(ImageError.Invalid, $"cannot use {files.NameOf(LayoutMarker.File)}: it is malformed; copy the image again", e);
        }
        if (!version.StartsWith("1.", StringComparison.Ordinal))
            throw new ImageException(ImageError.Unsupported, $"cannot use the layout '{reference.Location}': it has version '{Printable.Of(version)}', and only version 1 is supported");
    }

    private static ImageException NoLayout(ImageReference reference, string more, Exception? inner = null)
        => new(ImageError.Invalid, $"cannot use '{reference.Location}' as an OCI layout: it has no file {LayoutMarker.File}, and {more}; make a layout with skopeo copy IMAGE {reference.Place}:TAG", inner);

    private ImageIndex ReadIndex() => ParseIndex(_files.ReadAll(IndexFile, ManifestDocument.MaxSize));

    private ImageIndex ParseIndex(ReadOnlySpan<byte> bytes)
        => ManifestDocument.Parse(bytes, MediaTypes.OciIndex, $"the index.json of '{_reference.Location}'") as ImageIndex
            ?? throw new ImageException(ImageError.Invalid, $"cannot use '{_reference.Location}' as an OCI layout: its index.json is not an image index");

    /// <summary>Null for what cannot be read: whether others left something broken beside the image is not its user's business.</summary>
    private ManifestDocument? TryReadManifest(Descriptor descriptor)
    {
        try
        {
            byte[] bytes = _files.ReadAll(PathOf(descriptor.Digest), ManifestDocument.MaxSize);
            return (bytes.Length == descriptor.Size || descriptor.Size == Descriptor.UnknownSize) && descriptor.Digest.Verifies(bytes) ? ManifestDocument.Parse(bytes, descriptor.MediaType, "") : null;
        }
        catch (ImageException)
        {
            return null;
        }
    }

    /// <summary>
    /// Some writers put the image index itself into index.json: one entry for each platform, all with one name or none, and
    /// no two of one platform.
    /// </summary>
    private static bool IsOneImage(List<IndexEntry> images)
        => images.TrueForAll(image => image.Platform is not null && Name(image) == Name(images[0]))
            && images.DistinctBy(image => image.Platform).Count() == images.Count;

    /// <summary>The entry that the reference names, or those of one image for several platforms.</summary>
    private List<IndexEntry> Choose(ImageIndex index)
    {
        if (_reference.SourceIndex is { } number)
        {
            return number < index.Entries.Count ? [index.Entries[number]]
                : throw new ImageException(ImageError.NotFound, $"cannot find the image @{number} in '{_reference.Location}': its index.json lists {index.Entries.Count}, counted from @0");
        }
        IReadOnlyList<IndexEntry> images = index.Images;
        List<IndexEntry> named = [.. Named(images)];
        if (named.Count == 0)
            named = [.. Named(index.Entries.Where(entry => entry.Kind == IndexEntryKind.Artifact))];
        if (named.Exists(image => image.Descriptor is not null))
            named.RemoveAll(image => image.Descriptor is null);
        // The same image under several names, or twice under one, is one image.
        if (named.Count > 0 && named.TrueForAll(image => image.DigestText == named[0].DigestText))
            return [named[0]];
        if (named.Count > 0 && IsOneImage(named))
            return named;
        if (images.Count == 0 && !_files.Exists(LayoutMarker.File))
            throw NoLayout(_reference, "its index.json lists no image");
        if (images.Count == 0)
            throw new ImageException(ImageError.NotFound, $"cannot find an image in the layout '{_reference.Location}': it is empty; copy one into it with skopeo copy IMAGE {_reference.Place}:TAG");

        List<string> tags = [.. images.Select(Name).OfType<string>().Distinct()];
        string list = tags.Count == 0 ? $"it has {images.Count} images without a tag"
            : $"it has {string.Join(", ", tags.Take(MaxTagsListed).Select(tag => $"'{Printable.Of(tag)}'"))}{(tags.Count > MaxTagsListed ? ", …" : "")}";
        throw new ImageException(ImageError.NotFound, (_reference.Tag, named.Count) switch
        {
            (null, _) => $"cannot choose an image of '{_reference}': {list}; choose one with {_reference.Place}:TAG or by its number with {_reference.Place}:@0",
            (_, 0) => $"cannot find the tag '{_reference.Tag}' in '{_reference.Location}': {list}; {NearestTags.Suggest(_reference.Tag!, tags) ?? $"choose one with {_reference.Place}:TAG"}",
            _ => $"cannot choose an image of '{_reference}': {named.Count} images have this tag; choose one by its number with {_reference.Place}:@0, or give each a tag of its own",
        });
    }

    private IEnumerable<IndexEntry> Named(IEnumerable<IndexEntry> entries) => entries.Where(entry => _reference.Tag is null || IsNamed(entry, _reference.Tag));

    private static bool IsNamed(IndexEntry image, string tag)
        => (image.Annotations.TryGetValue(RefName, out string? name) && name == tag) || (image.Annotations.TryGetValue(ContainerdName, out name) && name == tag);

    private static string? Name(IndexEntry image)
        => image.Annotations.TryGetValue(RefName, out string? name) || image.Annotations.TryGetValue(ContainerdName, out name) ? name : null;

    private static string PathOf(Digest digest) => $"blobs/{digest.Algorithm}/{digest.Hex}";
}
