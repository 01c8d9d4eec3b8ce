using System.Collections.Concurrent;
using System.Globalization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// Where the registry redirected requests for blobs: signed URLs of a CDN, which save the registry's redirect on each range until they
/// expire or are refused. Thread-safe.
/// </summary>
internal sealed class BlobLocations
{
    // A URL that expires on its way costs a refusal and a second round trip.
    private static readonly TimeSpan s_margin = TimeSpan.FromSeconds(10);

    private readonly ConcurrentDictionary<Digest, (Uri Url, DateTimeOffset Expires)> _locations = new();

    /// <summary>A URL that has not expired, or null.</summary>
    public Uri? TryGet(Digest blob)
    {
        if (!_locations.TryGetValue(blob, out var location))
            return null;
        if (DateTimeOffset.UtcNow + s_margin < location.Expires)
            return location.Url;
        _locations.TryRemove(KeyValuePair.Create(blob, location));
        return null;
    }

    public void Remember(Digest blob, Uri url) => _locations[blob] = (url, ExpiryOf(url) ?? DateTimeOffset.MaxValue);

    /// <summary>Removes a URL that was refused or had other content; null removes any. A URL that has replaced it stays.</summary>
    public void Forget(Digest blob, Uri? url)
    {
        if (_locations.TryGetValue(blob, out var location) && (url is null || location.Url == url))
            _locations.TryRemove(KeyValuePair.Create(blob, location));
    }

    /// <summary>When a signed URL expires, as S3, Google Cloud Storage, CloudFront and Azure write it; null when it does not say.</summary>
    internal static DateTimeOffset? ExpiryOf(Uri url)
    {
        var parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (string parameter in url.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = parameter.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0)
                parameters.TryAdd(parameter[..equals], Uri.UnescapeDataString(parameter[(equals + 1)..]));
        }
        foreach (string vendor in (string[])["X-Amz-", "X-Goog-"])
        {
            if (parameters.TryGetValue(vendor + "Date", out string? signed) && parameters.TryGetValue(vendor + "Expires", out string? seconds)
                && DateTimeOffset.TryParseExact(signed, "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset from)
                && int.TryParse(seconds, NumberStyles.None, CultureInfo.InvariantCulture, out int lifetime))
            {
                return lifetime < (DateTimeOffset.MaxValue - from).TotalSeconds ? from.AddSeconds(lifetime) : null;
            }
        }
        if (parameters.TryGetValue("Expires", out string? epoch) && long.TryParse(epoch, NumberStyles.None, CultureInfo.InvariantCulture, out long unix) && unix < 253402300799)
            return DateTimeOffset.FromUnixTimeSeconds(unix);
        return parameters.TryGetValue("se", out string? azure) && DateTimeOffset.TryParse(azure, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset end) ? end : null;
    }
}
