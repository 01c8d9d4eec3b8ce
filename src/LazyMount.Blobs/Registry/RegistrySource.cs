using System.Collections.Concurrent;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Hosts;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>One repository of a registry as the place where an image comes from, and where artifacts beside it go.</summary>
internal sealed class RegistrySource : IImageSource, IArtifactTarget
{
    private const int MaxUrls = 8; // of a foreign layer

    private readonly ConcurrentDictionary<Digest, Uri> _givers = new();
    private readonly ImageReference _reference;
    private readonly RegistryClient _client;
    private readonly RegistryReferrers _referrers;
    private readonly RegistryUpload _upload;
    private readonly ILogger _logger;

    public RegistrySource(ImageReference reference, RegistryOptions options, RegistryTimeouts timeouts, ILoggerFactory loggers)
    {
        _reference = reference;
        _logger = loggers.CreateLogger<RegistrySource>();
        RegistryEndpoint endpoint = new RegistryHosts(options).EndpointsOf(reference.Location, reference.Repository)[^1];
        _client = new RegistryClient(endpoint, new CredentialStore(options, reference.Location, _logger), options, timeouts, _logger);
        _referrers = new RegistryReferrers(_client, reference.Place);
        _upload = new RegistryUpload(_client, reference.Place);
    }

    public bool IsLocal => false;

    public bool IsVerified => _client.Http.IsVerified;

    public void Distrust(Descriptor blob)
    {
    }

    public Digest? DiffIdOf(Digest blob) => null;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
        => GetManifestAsync(_reference.Digest?.ToString() ?? _reference.Tag!, _reference.Digest, null, _reference.ToString(), cancellationToken);

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        => GetManifestAsync(descriptor.Digest.ToString(), descriptor.Digest, descriptor.Size == Descriptor.UnknownSize ? null : descriptor.Size, $"manifest {descriptor.Digest} of {_reference}", cancellationToken);

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, blob.Size - offset);
        if (length == 0)
            return Stream.Null;
        if (blob.OpenData(offset, length) is { } data)
            return data;
        if (blob.Urls is not { Count: > 0 } urls)
            return await OpenAsync(blob, null, offset, length, cancellationToken).ConfigureAwait(false);

        // A foreign layer: the registry need not have it. Whoever had it is asked first for the next range.
        if (_givers.TryGetValue(blob.Digest, out Uri? giver))
        {
            try
            {
                return await OpenAsync(blob, giver, offset, length, cancellationToken).ConfigureAwait(false);
            }
            catch (RegistryException)
            {
                _givers.TryRemove(blob.Digest, out _);
            }
        }
        try
        {
            return await OpenAsync(blob, null, offset, length, cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error is ImageError.NotFound or ImageError.Denied)
        {
            return await OpenElsewhereAsync(blob, urls, offset, length, cancellationToken).ConfigureAwait(false);
        }
    }

    public Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
        => _referrers.FindAsync(subject, artifactTypes, cancellationToken);

    public Task<bool> PushBlobAsync(Descriptor blob, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        => _upload.PushBlobAsync(blob, bytes, cancellationToken);

    public async Task PushReferrerAsync(RawManifest manifest, Digest subject, CancellationToken cancellationToken)
    {
        Descriptor descriptor = manifest.Descriptor;
        bool isListed = await _upload.PutManifestAsync(
            descriptor.Digest.ToString(), descriptor.MediaType, manifest.Bytes, $"manifest {descriptor.Digest} to {_reference.Place}", cancellationToken).ConfigureAwait(false);
        if (!isListed)
            await _referrers.AddTaggedAsync(descriptor, subject, _upload, cancellationToken).ConfigureAwait(false);
    }

    public async Task PushManifestAsync(RawManifest manifest, string? tag, CancellationToken cancellationToken)
    {
        Descriptor descriptor = manifest.Descriptor;
        await _upload.PutManifestAsync(
            tag ?? descriptor.Digest.ToString(), descriptor.MediaType, manifest.Bytes, $"manifest {descriptor.Digest} to {_reference.Place}{(tag is null ? "" : $":{tag}")}", cancellationToken).ConfigureAwait(false);
    }

    public async Task<RawManifest?> TryGetTaggedAsync(string tag, CancellationToken cancellationToken)
    {
        try
        {
            return await GetManifestAsync(tag, null, null, $"{_reference.Place}:{tag}", cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error == ImageError.NotFound)
        {
            return null;
        }
    }

    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<Stream> OpenElsewhereAsync(Descriptor blob, IReadOnlyList<string> urls, long offset, long length, CancellationToken cancellationToken)
    {
        Exception? last = null;
        foreach (string text in urls.Take(MaxUrls))
        {
            if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? url))
                continue;
            try
            {
                Stream stream = await OpenAsync(blob, url, offset, length, cancellationToken).ConfigureAwait(false);
                if (_givers.TryAdd(blob.Digest, url))
                    _logger.FetchedElsewhere(blob.Digest, url.Host);
                return stream;
            }
            catch (RegistryException e)
            {
                last = e;
            }
        }
        throw new ImageException(
            last is RegistryException { Error: ImageError.Unreachable } ? ImageError.Unreachable : ImageError.NotFound,
            $"Blob {blob.Digest} of {_reference} is a foreign layer that {_reference.Location} does not have, and none of the {urls.Count} URLs in its manifest gives it{(last is null ? "" : $": {last.Message.TrimEnd('.')}")}; get it from whoever publishes the image.",
            last);
    }

    private async Task<Stream> OpenAsync(Descriptor blob, Uri? elsewhere, long offset, long length, CancellationToken cancellationToken)
        => await RegistryBlobStream.OpenAsync(_client, _logger, blob, $"blob {blob.Digest} of {_reference}", elsewhere, offset, length, cancellationToken).ConfigureAwait(false);

    private Task<RawManifest> GetManifestAsync(string reference, Digest? digest, long? size, string subject, CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"manifests/{reference}", subject) { Accept = MediaTypes.Manifests };
        return _client.SendAsync(
            request,
            async (response, token) =>
            {
                using HttpResponseMessage owned = response;
                byte[] bytes = await _client.Http.ReadDocumentAsync(response, ManifestDocument.MaxSize, subject, "a manifest", token).ConfigureAwait(false);
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
