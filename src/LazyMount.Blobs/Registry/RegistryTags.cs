using System.Runtime.CompilerServices;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry;

/// <summary>The tags of one repository (distribution-spec v1.1, "Listing Tags").</summary>
internal sealed class RegistryTags(RegistryClient client, string place)
{
    private const int PageSize = 1000;
    private const int MaxPages = 10_000;
    private const int MaxPageBytes = 16 << 20;

    /// <summary>All tags in the registry's order, page by page as they are taken.</summary>
    /// <exception cref="ImageException">The registry does not list them, or a page fails after the tags of those before it.</exception>
    public async IAsyncEnumerable<string> ListAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"tags/list?n={PageSize}", $"the tags of '{place}'");
        var seen = new HashSet<Uri>();
        long listed = 0;
        do
        {
            Page page;
            try
            {
                page = await client.SendAsync(request, (response, token) => ReadAsync(response, request.Subject, seen, token), cancellationToken).ConfigureAwait(false);
            }
            catch (RegistryException e) when (listed > 0)
            {
                throw Incomplete(e, listed);
            }
            foreach (string tag in page.Tags)
                yield return tag;
            listed += page.Tags.Count;
            if (page.Flaw is not null)
                throw Incomplete(page.Flaw, listed);
            request = request with { Location = page.Next };
        }
        while (request.Location is not null);
    }

    // The list could not be read to its end, whatever the reason.
    private static ImageException Incomplete(RegistryException e, long listed) => new(
        e.Error == ImageError.Denied ? ImageError.Denied : ImageError.Unreachable,
        $"{e.Message}; the list is incomplete: {(listed == 1 ? "1 tag was" : $"{listed} tags were")} read before",
        e);

    private async Task<Page> ReadAsync(HttpResponseMessage response, string subject, HashSet<Uri> seen, CancellationToken cancellationToken)
    {
        using HttpResponseMessage owned = response;
        byte[] bytes = await client.Http.ReadDocumentAsync(response, MaxPageBytes, subject, "a list of tags", cancellationToken).ConfigureAwait(false);
        try
        {
            List<string> tags = [.. GoJsonReader.Read(bytes, TagsJson.Form.Read).Tags.Where(tag => tag.Length > 0)]; // null is read as ""
            seen.Add(response.RequestMessage!.RequestUri!);
            Uri? next = LinkHeader.NextPage(response);
            if (next is not null && seen.Contains(next)) // an empty page that does so is the last one
                return new Page(tags, null, tags.Count == 0 ? null : client.Http.Broken(response, subject, "links a page to a page that was read before"));
            return new Page(tags, next, next is not null && seen.Count == MaxPages ? client.Http.Broken(response, subject, $"sends more than {MaxPages} pages") : null);
        }
        catch (JsonException e)
        {
            throw client.Http.Broken(response, subject, $"sends a malformed list of tags ({e.Message})");
        }
    }

    /// <param name="Tags">Its tags.</param>
    /// <param name="Next">Where the next page is; null after the last one.</param>
    /// <param name="Flaw">Why the list cannot be read further though this page is not the last one.</param>
    private sealed record Page(IReadOnlyList<string> Tags, Uri? Next, RegistryException? Flaw);
}
