using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Layout;

/// <summary>
/// Adds images to an OCI image layout directory (image-spec v1.1, image-layout.md), which is made when there is none. Blobs
/// appear complete and verified, and index.json changes at once and last. Thread-safe; processes may share a layout.
/// </summary>
public sealed class LayoutWriter
{
    private const string RefName = "org.opencontainers.image.ref.name";
    private const string IndexFile = "index.json";
    private const int HeadSize = 512; // bytes that tell how a layer is compressed

    private readonly ImageReference _reference;
    private readonly string _directory;

    /// <param name="reference">oci:DIR or oci:DIR:TAG.</param>
    /// <exception cref="ImageException">Something else is in its place, the directory above it is missing, or the layout cannot be made.</exception>
    public LayoutWriter(ImageReference reference)
    {
        string named = PathText.FullPath(reference.Location);
        (_reference, _directory) = (reference, PathText.ForCalls(named));
        try
        {
            // Another process may be making it at the same time.
            if (!IsLayout && Directory.Exists(_directory) && Directory.EnumerateFileSystemEntries(_directory).Any(entry => !Path.GetFileName(entry).StartsWith(AtomicFile.Prefix, StringComparison.Ordinal)) && !IsLayout)
                throw new ImageException(ImageError.Invalid, $"cannot use '{reference.Location}' as an OCI layout: it is not empty, and has no file {LayoutMarker.File}; name another directory");
            if (Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(named)) is { } parent && FileIdentity.TryOf(parent) is null)
                throw new ImageException(ImageError.NotFound, $"cannot make the layout '{reference.Location}': {FileProblem.NoDirectory(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(reference.Location))!)}");
            Interop.MakeDirectory(named);
            _directory = PathText.ForCalls(named);
            if (!Files.Exists(LayoutMarker.File))
                Files.Write(LayoutMarker.File, LayoutMarker.Content.Span);
            OciLayout.CheckMarker(Files, reference); // nobody could read what is written into another
            AtomicFile.Sweep(_directory);
            Directory.CreateDirectory(Path.Combine(_directory, "blobs"));
        }
        catch (Exception e) when (e is UnauthorizedAccessException or (IOException and not ImageException))
        {
            throw Failure("make the layout", e);
        }
    }

    /// <summary>How long another process may take for a change of index.json.</summary>
    internal TimeSpan Patience { get; init; } = LayoutDirectory.DefaultPatience;

    private LayoutDirectory Files => new(_reference) { Patience = Patience };

    private bool IsLayout => File.Exists(Path.Combine(_directory, LayoutMarker.File)) || File.Exists(Path.Combine(_directory, IndexFile));

    /// <summary>Whether a blob is there; one that is not what its name says is removed.</summary>
    public async Task<bool> HasAsync(Descriptor blob, Action<long> progress, CancellationToken cancellationToken)
    {
        string path = PathOf(blob.Digest);
        try
        {
            FileStream file = File.OpenRead(path);
            await using (file.ConfigureAwait(false))
            {
                if (file.Length == blob.Size && await VerifiedCopy.RunAsync(blob, file, null, progress, cancellationToken).ConfigureAwait(false))
                    return true;
            }
            File.Delete(path);
            return false;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw Failure($"read the blob {blob.Digest}", e);
        }
    }

    /// <summary>Writes a blob; false, and nothing is written, when the bytes are not what the descriptor says.</summary>
    public async Task<bool> TryWriteAsync(Descriptor blob, Stream from, Action<long> progress, CancellationToken cancellationToken)
    {
        string path = PathOf(blob.Digest);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            // In the root: what lies among the blobs is a blob to all readers.
            using AtomicFile file = AtomicFile.Create(_directory, AtomicFile.Shared, blob.Size);
            bool isRight = await VerifiedCopy.RunAsync(blob, from, file.Handle, progress, cancellationToken).ConfigureAwait(false);
            if (isRight)
                file.Commit(path, durable: true);
            return isRight;
        }
        catch (Exception e) when (e is UnauthorizedAccessException or (IOException and not ImageException))
        {
            throw Failure($"write the blob {blob.Digest}", e);
        }
    }

    /// <summary>
    /// Writes an image's config and manifest, whose layers are there, and enters it under the reference's tag in the place of
    /// what had that tag. docker's manifests become OCI's, since most readers of layouts know no others; then the media type of
    /// a layer is what its bytes are.
    /// </summary>
    /// <param name="image">The image.</param>
    /// <param name="detect">Names the compression of a layer that begins with some bytes, such as "gzip"; null is none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The manifest as it is in the layout, and whether another image lost its tag to it.</returns>
    public async Task<(Descriptor Manifest, bool ReplacesAnother)> AddAsync(Image image, Func<ReadOnlyMemory<byte>, string?> detect, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> manifest = image.ManifestDescriptor.MediaType == MediaTypes.DockerManifest ? ToOci(image, detect) : image.ManifestBytes;
        var descriptor = new Descriptor(MediaTypes.OciManifest, image.ManifestDescriptor.Digest.Verifies(manifest.Span) ? image.ManifestDescriptor.Digest : Digest.OfSha256(manifest.Span), manifest.Length);
        foreach ((Descriptor blob, ReadOnlyMemory<byte> bytes) in new[] { (image.ConfigDescriptor, image.ConfigBytes), (descriptor, manifest) })
        {
            using var stream = new MemoryStream(bytes.ToArray());
            if (!await HasAsync(blob, static _ => { }, cancellationToken).ConfigureAwait(false) && !await TryWriteAsync(blob, stream, static _ => { }, cancellationToken).ConfigureAwait(false))
                throw new ImageException(ImageError.Verification, $"cannot use blob {blob.Digest} of '{image.Reference}': it does not match its digest; push or copy the image again");
        }
        bool replacesAnother = false;
        await Files.ChangeAsync(IndexFile, ManifestDocument.MaxSize, index => Enter(index, descriptor, out replacesAnother), cancellationToken).ConfigureAwait(false);
        return (descriptor, replacesAnother);
    }

    private byte[] Enter(ReadOnlyMemory<byte>? index, Descriptor manifest, out bool replacesAnother)
    {
        // The parser says in its own words what is wrong with a broken index.
        if (index is { } bytes && ManifestDocument.Parse(bytes.Span, MediaTypes.OciIndex, $"the index.json of '{_reference.Location}'") is not ImageIndex)
            throw new ImageException(ImageError.Invalid, $"cannot use '{_reference.Location}' as an OCI layout: its index.json is not an image index; name another directory");
        string? tag = _reference.Tag;
        if (tag is not null)
            manifest = manifest with { Annotations = new Dictionary<string, string> { [RefName] = tag } };
        var text = new IndexText(index ?? ArtifactManifest.EmptyIndex);
        replacesAnother = text.Entries.Any(entry => IsReplaced(entry) && entry.DigestText != manifest.Digest.ToString());
        return text.With(entry => !IsReplaced(entry), ArtifactManifest.EntryOf(manifest));

        bool IsReplaced(IndexEntry entry)
            => entry.Annotations.TryGetValue(RefName, out string? name) ? name == tag : tag is null && entry.DigestText == manifest.Digest.ToString();
    }

    private byte[] ToOci(Image image, Func<ReadOnlyMemory<byte>, string?> detect)
    {
        string configType = image.ArtifactType is null ? MediaTypes.OciConfig : MediaTypes.ToOci(image.ConfigDescriptor.MediaType);
        return DockerManifestText.ToOci(image.ManifestBytes, configType, [.. image.Layers.Select(layer => MediaTypes.ToOci(MediaTypes.OfLayer(layer.MediaType, detect(HeadOf(layer)))))]);
    }

    private byte[] HeadOf(Descriptor layer)
    {
        byte[] head = new byte[Math.Min(layer.Size, HeadSize)];
        using Stream stream = Files.Open($"blobs/{layer.Digest.Algorithm}/{layer.Digest.Hex}", 0, head.Length, out _);
        stream.ReadExactly(head);
        return head;
    }

    private string PathOf(Digest digest) => Path.Combine(_directory, "blobs", digest.Algorithm, digest.Hex);

    private ImageException Failure(string what, Exception e)
        => new(ImageError.Local, $"cannot {what} in '{_reference.Location}': {FileProblem.Reason(e)}; {FileProblem.Advice(e, "it", "use another layout")}", e);
}
