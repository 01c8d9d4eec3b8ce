using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry;

/// <summary>Link header fields (RFC 8288), by which registries page their lists (distribution-spec v1.1, "Listing Tags").</summary>
internal static class LinkHeader
{
    /// <summary>The target of the first link whose relations include "next", as it is written; null when there is none.</summary>
    /// <param name="fields">The values of all Link header fields of an answer.</param>
    public static string? Next(IEnumerable<string> fields)
    {
        foreach (string field in fields)
        {
            for (int at = 0; Target(field, at, out int end) is { } target; at = NextLink(field, end))
            {
                if (HasRelationNext(field, end))
                    return target;
            }
        }
        return null;
    }

    /// <summary>
    /// The next page. A registry behind a proxy that ends TLS may name itself with another scheme or port: the page is asked of
    /// <paramref name="here"/>'s scheme and authority. Null when there is none, or when it is at another host.
    /// </summary>
    public static Uri? NextPage(HttpResponseMessage response, Uri here)
        => response.Headers.NonValidated.TryGetValues("Link", out var fields) && Next(fields) is { } target
            && RawUrl.Resolve(here, target) is { } next
            && next.Host.Equals(here.Host, StringComparison.OrdinalIgnoreCase)
            && RawUrl.Resolve(here, next.PathAndQuery) is { } page && page != here ? page : null;

    private static string? Target(string field, int at, out int end)
    {
        int begin = field.IndexOf('<', at);
        end = begin < 0 ? -1 : field.IndexOf('>', begin);
        return end < 0 ? null : field[(begin + 1)..end].Trim();
    }

    // Behind the comma that ends a link's parameters; commas in quotes and in targets do not.
    private static int NextLink(string field, int at)
    {
        bool quoted = false;
        for (; at < field.Length; at++)
        {
            if (field[at] == '\\' && quoted)
                at++;
            else if (field[at] == '"')
                quoted = !quoted;
            else if (field[at] == ',' && !quoted)
                return at + 1;
        }
        return field.Length;
    }

    private static bool HasRelationNext(string field, int at)
    {
        string parameters = field[(at + 1)..Math.Max(at + 1, NextLink(field, at))].TrimEnd(',');
        foreach (string parameter in parameters.Split(';'))
        {
            int equals = parameter.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0 && parameter.AsSpan(0, equals).Trim().Equals("rel", StringComparison.OrdinalIgnoreCase))
                return parameter[(equals + 1)..].Trim().Trim('"').Split(' ', StringSplitOptions.RemoveEmptyEntries).Contains("next", StringComparer.OrdinalIgnoreCase);
        }
        return false;
    }
}
