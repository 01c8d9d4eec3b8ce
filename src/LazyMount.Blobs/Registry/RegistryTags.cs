using System.Runtime.CompilerServices;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry;

/// <summary>The tags of one repository (distribution-spec v1.1, "Listing Tags").</summary>
internal sealed class RegistryTags(RegistryClient client, string place)
{
    private const int PageSize = 1000;
    private const int MaxPages = 10_000; // ten million tags
    private const int MaxPageBytes = 16 << 20;

    /// <summary>All tags in the registry's order, page by page as they are taken.</summary>
    /// <exception cref="ImageException">The registry does not list them.</exception>
    public async IAsyncEnumerable<string> ListAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"tags/list?n={PageSize}", $"the tags of {place}");
        var seen = new HashSet<Uri>();
        for (int page = 0; page < MaxPages; page++)
        {
            (IReadOnlyList<string> tags, Uri? next) = await client.SendAsync(request, (response, token) => ReadAsync(response, request.Subject, token), cancellationToken).ConfigureAwait(false);
            foreach (string tag in tags)
                yield return tag;
            if (next is null || !seen.Add(next))
                yield break;
            request = request with { Location = next };
        }
    }

    private async Task<(IReadOnlyList<string> Tags, Uri? Next)> ReadAsync(HttpResponseMessage response, string subject, CancellationToken cancellationToken)
    {
        using HttpResponseMessage owned = response;
        byte[] bytes = await client.Http.ReadDocumentAsync(response, MaxPageBytes, subject, "a list of tags", cancellationToken).ConfigureAwait(false);
        try
        {
            return (GoJsonReader.Read(bytes, TagsJson.Form.Read).Tags, LinkHeader.NextPage(response, response.RequestMessage!.RequestUri!));
        }
        catch (JsonException e)
        {
            throw client.Http.Broken(response, subject, $"gives a list of tags that is malformed ({e.Message})");
        }
    }
}
