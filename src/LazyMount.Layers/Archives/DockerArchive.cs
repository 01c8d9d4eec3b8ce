using System.Globalization;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Compression;
using LazyMount.Indexes.Tar;
using Microsoft.Extensions.Logging;

using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers.Archives;

/// <summary>
/// One image of what `docker save` writes, and podman, skopeo, kaniko, ko, bazel, jib and nix as well: manifest.json names a
/// config and layers by their paths in the archive, and nothing but the config's diff_ids says what the layers must be.
/// <para>The manifest that an archive does not have is written here as skopeo does it: docker's schema 2, so that the image
/// has the same digest as there. A layer that is not compressed has its diff_id for its digest. For a compressed one the
/// digest of its bytes is found out once and kept in the cache under the file's identity; what comes out of it is held
/// against the diff_id when it is indexed (<see cref="DiffIdOf"/>).</para>
/// </summary>
internal sealed class DockerArchive(ImageReference reference, ArchiveFile archive, BlobCache cache, ILogger logger) : IImageSource
{
    // What skopeo says of every layer, compressed or not.
    private const string LayerType = MediaTypes.DockerTar + ".gzip";
    private const int MaxNamesListed = 20;
    private const int HashBufferSize = 1 << 20;

    private sealed record Blob(ArchiveMember Member, Digest? DiffId);

    private volatile Dictionary<Digest, Blob> _blobs = [];

    public bool IsLocal => true;

    public bool IsVerified => true;

    public bool Distrust(Descriptor blob) => false;

    public Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
        => Task.FromResult<IReadOnlyList<Descriptor>>([]);

    public async IAsyncEnumerable<string> ListTagsAsync(Action<string> note, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (string name in (await ReadManifestAsync(cancellationToken).ConfigureAwait(false)).SelectMany(image => image.RepoTags).Distinct())
        {
            yield return name;
        }
    }

    public async Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
    {
        DockerManifestItem image = Choose(await ReadManifestAsync(cancellationToken).ConfigureAwait(false));
        ArchiveMember configMember = Find(image.Config, "config");
        byte[] config = await ReadAsync(configMember, image.Config, ImageConfig.MaxSize, cancellationToken).ConfigureAwait(false);
        if (ImageConfig.TryParse(config)?.DiffIds is not { } diffIds)
        {
            throw Invalid($"the config {image.Config} has no list of diff_ids, so its layers cannot be verified");
        }
        IReadOnlyList<string> paths = image.Layers;
        if (paths.Count != diffIds.Count)
        {
            throw Invalid($"manifest.json lists {paths.Count} layers, but the config {image.Config} lists {diffIds.Count}");
        }
        if (paths.Count > ManifestDocument.MaxLayers)
        {
            throw Invalid($"it lists {paths.Count} layers, more than the maximum of {ManifestDocument.MaxLayers}");
        }

        var blobs = new Dictionary<Digest, Blob>();
        ArchiveMember[] members = [.. paths.Select(path => Find(path, "layer"))];
        Dictionary<long, (CompressionFormat Format, Digest Digest)> compressed = await HashCompressedAsync(members, cancellationToken).ConfigureAwait(false);
        var layers = new string[members.Length];
        var types = new string[members.Length];
        for (int i = 0; i < layers.Length; i++)
        {
            bool isCompressed = compressed.TryGetValue(members[i].Offset, out (CompressionFormat Format, Digest Digest) blob);
            Digest digest = isCompressed ? blob.Digest : diffIds[i];
            // The same layer at several paths is one layer: whichever is read has to match the digest.
            if (!blobs.TryAdd(digest, new Blob(members[i], isCompressed ? diffIds[i] : null)) && isCompressed && blobs[digest].DiffId != diffIds[i])
            {
                throw Invalid($"the config gives the layer {paths[i]} two diff_ids");
            }
            types[i] = MediaTypes.OfLayer(LayerType, blob.Format.MediaTypeName());
            layers[i] = DescriptorJson(LayerType, blobs[digest].Member.Size, digest);
        }
        var configDigest = Digest.OfSha256(config);
        blobs[configDigest] = new Blob(configMember, null);
        _blobs = blobs;

        // To the byte what skopeo writes.
        byte[] manifest = Encoding.UTF8.GetBytes(
            $$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.DockerManifest}}","config":{{DescriptorJson(MediaTypes.DockerConfig, config.Length, configDigest)}},"layers":[{{string.Join(',', layers)}}]}""");
        return new RawManifest(new Descriptor(MediaTypes.DockerManifest, Digest.OfSha256(manifest), manifest.Length), manifest) { LayerTypes = types };
    }

    private static string DescriptorJson(string mediaType, long size, Digest digest)
        => string.Create(CultureInfo.InvariantCulture, $$"""{"mediaType":"{{mediaType}}","size":{{size}},"digest":"{{digest}}"}""");

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        => throw new ImageException(ImageError.NotFound, $"cannot find the manifest {descriptor.Digest} in the archive '{archive.Path}': a docker archive has no image index");

    public Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, blob.Size - offset);
        cancellationToken.ThrowIfCancellationRequested();
        return _blobs.TryGetValue(blob.Digest, out Blob? found) && found.Member.Size == blob.Size
            ? Task.FromResult(archive.Open(found.Member, offset, length))
            : throw new ImageException(ImageError.NotFound, $"cannot find the blob {blob.Digest} in the archive '{archive.Path}': it is not there; make the archive again");
    }

    public SafeFileHandle? Archive => archive.Archive;

    public Digest? DiffIdOf(Digest blob) => _blobs.TryGetValue(blob, out Blob? found) ? found.DiffId : null;

    public ValueTask DisposeAsync()
    {
        archive.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<IReadOnlyList<DockerManifestItem>> ReadManifestAsync(CancellationToken cancellationToken)
    {
        byte[] bytes = await ReadAsync(Find(ArchiveSource.DockerManifest, "file"), ArchiveSource.DockerManifest, ManifestDocument.MaxSize, cancellationToken).ConfigureAwait(false);
        try
        {
            return DockerManifestItem.ReadAll(bytes);
        }
        catch (JsonException e)
        {
            throw new ImageException(ImageError.Invalid, $"cannot use the archive '{archive.Path}': its manifest.json is not a list of images as docker save writes it; make it again", e);
        }
    }

    private DockerManifestItem Choose(IReadOnlyList<DockerManifestItem> images)
    {
        if (images.Count == 0)
        {
            throw new ImageException(ImageError.NotFound, $"cannot find an image in the archive '{archive.Path}': its manifest.json is an empty list; make it again");
        }
        if (reference.SourceIndex is { } index)
        {
            return index < images.Count ? images[index]
                : throw new ImageException(ImageError.NotFound, $"cannot find the image @{index} in '{archive.Path}': it has {images.Count}, counted from @0");
        }
        if (reference.Tag is null)
        {
            return images.Count == 1 ? images[0]
                : throw new ImageException(ImageError.NotFound, $"cannot choose an image of '{reference}': {List(images)}; choose one with {reference.Place}:NAME:TAG or by its number with {reference.Place}:@0");
        }
        return images.FirstOrDefault(image => image.RepoTags.Any(name => ImageReference.TryNormalizeName(name) == reference.Tag))
            ?? throw new ImageException(ImageError.NotFound, $"cannot find the image '{reference.Tag}' in '{archive.Path}': {List(images)}; {NearestTags.Suggest(reference.Tag, [.. images.SelectMany(image => image.RepoTags).Select(name => ImageReference.TryNormalizeName(name) ?? name).Distinct()]) ?? $"choose one with {reference.Place}:NAME:TAG or by its number with {reference.Place}:@0"}");
    }

    private static string List(IReadOnlyList<DockerManifestItem> images)
    {
        string[] names = [.. images.SelectMany(image => image.RepoTags).Distinct()];
        if (names.Length == 0)
        {
            return $"it has {images.Count} {(images.Count == 1 ? "image" : "images")} without a name";
        }
        return $"it has {string.Join(", ", names.Take(MaxNamesListed).Select(name => $"'{Printable.Of(name)}'"))}{(names.Length > MaxNamesListed ? ", …" : "")}";
    }

    private ArchiveMember Find(string path, string what)
        => path.Length == 0 ? throw Invalid($"manifest.json names no path of the {what}")
            : archive.Find(path) ?? throw new ImageException(ImageError.NotFound, $"cannot find the {what} '{Printable.Of(path)}' in the archive '{archive.Path}': it is not there; make the archive again");

    private async Task<byte[]> ReadAsync(ArchiveMember member, string path, int maxSize, CancellationToken cancellationToken)
    {
        if (member.Size > maxSize)
        {
            throw Invalid($"its file '{path}' has {member.Size} bytes, more than the maximum of {maxSize}");
        }
        var bytes = new byte[member.Size];
        Stream stream = archive.Open(member, 0, member.Size);
        await using (stream.ConfigureAwait(false))
        {
            await stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
        }
        return bytes;
    }

    /// <summary>Format and digest of the compressed layers' bytes, by where the layers stand.</summary>
    private async Task<Dictionary<long, (CompressionFormat Format, Digest Digest)>> HashCompressedAsync(IEnumerable<ArchiveMember> members, CancellationToken cancellationToken)
    {
        var compressed = new Dictionary<long, (CompressionFormat, Digest)>();
        string stored = Path.Combine(cache.GetDirectory("archives"), archive.Key.Hex + ".json");
        Dictionary<long, Digest> known = Load(stored);
        bool isNew = false;
        foreach (ArchiveMember member in members.Distinct())
        {
            Stream stream = archive.Open(member, 0, member.Size);
            await using (stream.ConfigureAwait(false))
            {
                var head = new byte[TarHeader.BlockSize];
                int length = await stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
                CompressionFormat format = Decompressor.Detect(head.AsSpan(0, length));
                if (format == CompressionFormat.None)
                {
                    continue;
                }
                if (!known.TryGetValue(member.Offset, out Digest digest))
                {
                    known[member.Offset] = digest = await HashAsync(head.AsMemory(0, length), stream, cancellationToken).ConfigureAwait(false);
                    isNew = true;
                }
                compressed[member.Offset] = (format, digest);
            }
        }
        if (isNew)
        {
            Save(stored, known);
        }
        return compressed;
    }

    private static async Task<Digest> HashAsync(ReadOnlyMemory<byte> head, Stream rest, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(head.Span);
        var buffer = new byte[HashBufferSize];
        while (await rest.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int length)
        {
            hash.AppendData(buffer, 0, length);
        }
        return Digest.FromSha256(hash.GetHashAndReset());
    }

    private static Dictionary<long, Digest> Load(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(BlobCache.ReadFile(path), ArchiveJson.Default.DictionaryInt64Digest) ?? [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return [];
        }
    }

    // Costs the next start, not this one, when it fails.
    private void Save(string path, Dictionary<long, Digest> digests)
    {
        try
        {
            cache.WriteFile(path, JsonSerializer.SerializeToUtf8Bytes(digests, ArchiveJson.Default.DictionaryInt64Digest));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            logger.IndexNotSaved(archive.Path, e.Message);
        }
    }

    private ImageException Invalid(string reason) => new(ImageError.Invalid, $"cannot use the archive '{archive.Path}': {reason}; make it again");
}
