using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>One repository of a registry as the place where an image comes from.</summary>
internal sealed class RegistrySource : IImageSource
{
    private readonly ImageReference _reference;
    private readonly RegistryClient _client;
    private readonly ILogger _logger;

    public RegistrySource(ImageReference reference, ImageSourceOptions options, RegistryTimeouts timeouts, ILoggerFactory loggers)
    {
        _reference = reference;
        _logger = loggers.CreateLogger<RegistrySource>();
        _client = new RegistryClient(reference.Location, reference.Repository, options, timeouts, _logger);
    }

    public bool IsLocal => false;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
        => GetManifestAsync(_reference.Digest?.ToString() ?? _reference.Tag!, _reference.Digest, null, _reference.ToString(), cancellationToken);

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        => GetManifestAsync(descriptor.Digest.ToString(), descriptor.Digest, descriptor.Size, $"manifest {descriptor.Digest} of {_reference}", cancellationToken);

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, blob.Size - offset);
        if (length == 0)
            return Stream.Null;
        return await RegistryBlobStream.OpenAsync(_client, _logger, blob, $"blob {blob.Digest} of {_reference}", offset, length, cancellationToken).ConfigureAwait(false);
    }

    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }

    private Task<RawManifest> GetManifestAsync(string reference, Digest? digest, long? size, string subject, CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"manifests/{reference}", subject) { Accept = MediaTypes.Manifests };
        return _client.GetAsync(
            request,
            async (response, token) =>
            {
                using HttpResponseMessage owned = response;
                byte[] bytes = await _client.Http.ReadAllAsync(response, ManifestDocument.MaxSize, subject, token).ConfigureAwait(false)
                    ?? throw _client.Http.Broken(response, subject, $"gives a manifest of more than {ManifestDocument.MaxSize >> 20} MiB");
                if (digest is { } expected && (!expected.Verifies(bytes) || (size is not null && size != bytes.Length)))
                {
                    throw new ImageException(ImageError.Verification, $"The bytes that {_reference.Location} gives for {subject} do not match its digest and size; the registry or a proxy before it is at fault.");
                }
                string mediaType = response.Content.Headers.ContentType?.MediaType ?? "";
                return new RawManifest(new Descriptor(mediaType, digest ?? Digest.OfSha256(bytes), bytes.Length), bytes);
            },
            cancellationToken);
    }
}
