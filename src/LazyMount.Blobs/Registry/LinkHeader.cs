using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry;

/// <summary>Link header fields (RFC 8288), by which registries page their lists (distribution-spec v1.1, "Listing Tags").</summary>
internal static class LinkHeader
{
    /// <summary>The target of the first link whose relations include "next" or that has none, as it is written; null when there is none.</summary>
    /// <param name="fields">The values of all Link header fields of an answer.</param>
    public static string? Next(IEnumerable<string> fields)
    {
        foreach (string field in fields)
        {
            for (int at = 0; Target(field, at, out int end) is { } target; at = NextLink(field, end))
            {
                if (IsNext(field, end))
                    return target;
            }
        }
        return null;
    }

    /// <summary>
    /// The URL of the next page; null when this is the last one. A registry behind a proxy may give a URL with the scheme, host or port
    /// that it has inside, so only the path and the query are taken from the link: the page is asked of the server that gave this one.
    /// A link that is no URL gives this page's own URL.
    /// </summary>
    public static Uri? NextPage(HttpResponseMessage response)
    {
        if (!response.Headers.NonValidated.TryGetValues("Link", out var fields) || Next(fields) is not { } target)
            return null;
        Uri here = response.RequestMessage!.RequestUri!;
        return RawUrl.Resolve(here, target) is { } next ? RawUrl.Resolve(here, next.PathAndQuery) : here;
    }

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

    private static bool IsNext(string field, int at)
    {
        string parameters = field[(at + 1)..Math.Max(at + 1, NextLink(field, at))].TrimEnd(',');
        foreach (string parameter in parameters.Split(';'))
        {
            int equals = parameter.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0 && parameter.AsSpan(0, equals).Trim().Equals("rel", StringComparison.OrdinalIgnoreCase))
                return parameter[(equals + 1)..].Trim().Trim('"').Split(' ', StringSplitOptions.RemoveEmptyEntries).Contains("next", StringComparer.OrdinalIgnoreCase);
        }
        return true; // other clients do not look at the relation: a registry that leaves it out pages all the same
    }
}
