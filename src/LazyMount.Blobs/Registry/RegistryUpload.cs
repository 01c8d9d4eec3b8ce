using System.Net;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry;

/// <summary>Pushes to one repository (distribution-spec v1.1, "Push"): blobs in one piece, and manifests.</summary>
internal sealed class RegistryUpload(RegistryClient client, string place)
{
    // An upload whose session is gone begins again: what is pushed here is small.
    private const int MaxStarts = 3;

    /// <summary>False: the repository had it.</summary>
    public async Task<bool> PushBlobAsync(Descriptor blob, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        string subject = $"blob {blob.Digest} to '{place}'";
        if (await ExistsAsync(blob, cancellationToken).ConfigureAwait(false))
            return false;
        for (int start = 1; ; start++)
        {
            Uri location = await client.SendAsync(new RegistryRequest("blobs/uploads/", subject) { Method = HttpMethod.Post }, ReadLocation, cancellationToken).ConfigureAwait(false);
            string query = $"digest={Uri.EscapeDataString(blob.Digest.ToString())}";
            Uri end = RawUrl.WithQuery(location, query);
            try
            {
                return await client.SendAsync(
                    new RegistryRequest("", subject) { Method = HttpMethod.Put, Location = end, Body = bytes },
                    static (response, _) =>
                    {
                        response.Dispose();
                        return Task.FromResult(true);
                    },
                    cancellationToken).ConfigureAwait(false);
            }
            catch (RegistryException e) when (e.Status is HttpStatusCode.NotFound or HttpStatusCode.RequestedRangeNotSatisfiable && start < MaxStarts)
            {
                // A put that was tried again found its session used up, or the registry has forgotten it.
            }
        }

        Task<Uri> ReadLocation(HttpResponseMessage response, CancellationToken token)
        {
            using HttpResponseMessage owned = response;
            return RegistryHttp.RedirectOf(response) is { } next
                ? Task.FromResult(next)
                : throw client.Http.Broken(response, subject, "begins an upload without an address for its bytes");
        }
    }

    /// <summary>True when the answer says that the registry keeps the lists of referrers itself.</summary>
    public Task<bool> PutManifestAsync(string reference, string mediaType, ReadOnlyMemory<byte> bytes, string subject, CancellationToken cancellationToken)
        => client.SendAsync(
            new RegistryRequest($"manifests/{reference}", subject) { Method = HttpMethod.Put, Body = bytes, BodyType = mediaType },
            static (response, _) =>
            {
                using HttpResponseMessage owned = response;
                return Task.FromResult(response.Headers.Contains("OCI-Subject"));
            },
            cancellationToken);

    private async Task<bool> ExistsAsync(Descriptor blob, CancellationToken cancellationToken)
    {
        try
        {
            return await client.SendAsync(
                new RegistryRequest($"blobs/{blob.Digest}", $"blob {blob.Digest} of '{place}'") { Method = HttpMethod.Head },
                static (response, _) =>
                {
                    response.Dispose();
                    return Task.FromResult(true);
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e is { IsTemporary: false, Status: not null })
        {
            return false; // pushing tells whether one may
        }
    }
}
