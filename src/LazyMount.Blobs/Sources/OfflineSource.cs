using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Sources;

/// <summary>A registry that must not be asked: everything is what the cache has, and what it has not is told by name.</summary>
public sealed class OfflineSource(ImageReference reference, BlobCache cache) : IImageSource
{
    /// <inheritdoc/>
    public bool IsLocal => false; // what there is is in the cache, which is looked into first

    /// <inheritdoc/>
    public bool IsVerified => true; // nobody answers: what was stored says itself what it came over

    /// <inheritdoc/>
    public bool Distrust(Descriptor blob) => false;

    /// <inheritdoc/>
    public Digest? DiffIdOf(Digest blob) => null;

    /// <inheritdoc/>
    public Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
        => Task.FromResult<IReadOnlyList<Descriptor>>([]);

    /// <inheritdoc/>
    public IAsyncEnumerable<string> ListTagsAsync(Action<string> note, CancellationToken cancellationToken) => throw Missing($"the tags of {reference.Place}");

    /// <summary>What the reference named when it was last resolved.</summary>
    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
    {
        Descriptor? remembered = reference.Digest is { } digest ? new Descriptor("", digest, 0) : cache.TryRecall(reference);
        return remembered is { } root && cache.TryRead(root.Digest, ManifestDocument.MaxSize) is { } bytes
            ? Task.FromResult(new RawManifest(root with { Size = bytes.Length }, bytes))
            : throw Missing($"the manifest of '{reference}'");
    }

    /// <inheritdoc/>
    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        => throw Missing($"the manifest {descriptor.Digest} of '{reference}'");

    /// <inheritdoc/>
    public Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
        => blob.OpenData(offset, length) is { } data ? Task.FromResult(data) : throw Missing(MediaTypes.IsLayer(blob.MediaType)
            ? $"bytes {offset}-{offset + length - 1} of layer {blob.Digest} of '{reference}'"
            : $"blob {blob.Digest} of '{reference}'");

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private ImageException Missing(string what)
        => new(ImageError.Unreachable, $"cannot get {what}: the cache '{cache.Root}' does not have it, and --offline fetches nothing; run lazymount pull {reference} first, or leave out --offline");
}
