using System.Net;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// The referrers of a repository's manifests (distribution-spec v1.1, "Listing Referrers"): by the API, or where the
/// registry has none by the image index that clients keep under a tag made of the subject's digest.
/// </summary>
internal sealed class RegistryReferrers(RegistryClient client, string place)
{
    // What a repository's owner can make us read: an image with more signatures than this has other troubles.
    private const int MaxPages = 16;

    private static readonly string[] s_accept = [MediaTypes.OciIndex];

    private volatile bool _hasNoApi;

    /// <summary>Those of the first of the types that there are any of.</summary>
    public async Task<IReadOnlyList<Descriptor>> FindAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
    {
        List<Descriptor>? all = null; // when what is known is not of one type only
        foreach (string type in artifactTypes)
        {
            List<Descriptor>? listed = all;
            if (listed is null && !_hasNoApi)
            {
                (listed, bool filtered) = await TryListAsync(subject, type, cancellationToken).ConfigureAwait(false);
                all = filtered ? null : listed;
            }
            listed ??= all ??= [.. await ListTaggedAsync(subject, cancellationToken).ConfigureAwait(false) is { } index ? index.Manifests : []];
            List<Descriptor> found = listed.FindAll(each => each.ArtifactType == type);
            if (found.Count > 0)
                return found;
        }
        return [];
    }

    /// <summary>Adds a manifest to the image index that stands in for the API. Whoever does so at the same time may undo it.</summary>
    public async Task AddTaggedAsync(Descriptor referrer, Digest subject, RegistryUpload upload, CancellationToken cancellationToken)
    {
        RawManifest? raw = await TryGetTaggedAsync(subject, cancellationToken).ConfigureAwait(false);
        if (raw is not null)
            Parse(raw.Bytes.Span, subject); // throws for what must not be written over
        if (ArtifactManifest.AddTo(raw?.Bytes, referrer) is not { } index)
            return;
        if (index.Length > ManifestDocument.MaxSize)
            throw new ImageException(ImageError.Invalid, $"cannot push the list of referrers of {subject} in '{place}': it would have {index.Length} bytes, more than the {ManifestDocument.MaxSize} that registries accept; delete referrers that are no longer needed");
        await upload.PutManifestAsync(TagOf(subject), MediaTypes.OciIndex, index, $"the list of referrers of {subject} in '{place}'", cancellationToken).ConfigureAwait(false);
    }

    private static string TagOf(Digest subject) => $"{subject.Algorithm}-{subject.Hex}";

    /// <summary>By the API: null when there is none. <c>Filtered</c>: the registry left the other types out.</summary>
    private async Task<(List<Descriptor>? Listed, bool Filtered)> TryListAsync(Digest subject, string type, CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"referrers/{subject}?artifactType={Uri.EscapeDataString(type)}", $"the referrers of {subject} in '{place}'") { Accept = s_accept };
        var listed = new List<Descriptor>();
        bool filtered = true;
        for (int page = 0; page < MaxPages; page++)
        {
            (ImageIndex? index, bool filteredPage, Uri? next) = await TryGetPageAsync(request, cancellationToken).ConfigureAwait(false);
            if (index is null)
                return page == 0 ? (null, false) : (listed, filtered);
            listed.AddRange(index.Manifests);
            filtered &= filteredPage;
            if (next is null)
                break;
            request = request with { Location = next };
        }
        return (listed, filtered);
    }

    private async Task<(ImageIndex? Index, bool Filtered, Uri? Next)> TryGetPageAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await client.SendAsync(
                request,
                async (response, token) =>
                {
                    using HttpResponseMessage owned = response;
                    byte[]? bytes = await client.Http.ReadAllAsync(response, ManifestDocument.MaxSize, request.Subject, token).ConfigureAwait(false);
                    bool filtered = response.Headers.TryGetValues("OCI-Filters-Applied", out IEnumerable<string>? applied)
                        && applied.Any(each => each.Split(',').Any(name => name.Trim() == "artifactType"));
                    return (bytes is null ? null : TryParse(bytes), filtered, LinkHeader.NextPage(response) is { } next && next != response.RequestMessage!.RequestUri ? next : null);
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Status is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed or HttpStatusCode.BadRequest or HttpStatusCode.NotImplemented && e.Error != ImageError.Denied)
        {
            _hasNoApi = true;
            return default;
        }
        catch (RegistryException e) when (e.Status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
        {
            return default; // some registries without the API say it so; others do so until somebody logs in
        }
    }

    private async Task<ImageIndex?> ListTaggedAsync(Digest subject, CancellationToken cancellationToken)
        => await TryGetTaggedAsync(subject, cancellationToken).ConfigureAwait(false) is { } raw ? TryParse(raw.Bytes.Span) : null;

    private async Task<RawManifest?> TryGetTaggedAsync(Digest subject, CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"manifests/{TagOf(subject)}", $"the list of referrers of {subject} in '{place}'") { Accept = s_accept };
        try
        {
            return await client.SendAsync(
                request,
                async (response, token) =>
                {
                    using HttpResponseMessage owned = response;
                    byte[] bytes = await client.Http.ReadAllAsync(response, ManifestDocument.MaxSize, request.Subject, token).ConfigureAwait(false)
                        ?? throw client.Http.Broken(response, request.Subject, $"sends more than {ManifestDocument.MaxSize >> 20} MiB");
                    return new RawManifest(new Descriptor(MediaTypes.OciIndex, Digest.OfSha256(bytes), bytes.Length), bytes);
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error == ImageError.NotFound)
        {
            return null;
        }
    }

    private ImageIndex Parse(ReadOnlySpan<byte> bytes, Digest subject)
        => ManifestDocument.Parse(bytes, MediaTypes.OciIndex, $"the list of referrers of {subject} in '{place}'") as ImageIndex
            ?? throw new ImageException(ImageError.Invalid, $"cannot use the tag '{TagOf(subject)}' in '{place}': it should list the referrers of {subject}, but names an image; delete or rename that tag");

    // A page of HTML with status 200 is what some proxies give for an address that they do not know.
    private static ImageIndex? TryParse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return ManifestDocument.Parse(bytes, MediaTypes.OciIndex, "") as ImageIndex;
        }
        catch (ImageException)
        {
            return null;
        }
    }
}
