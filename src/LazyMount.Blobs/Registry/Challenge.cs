using System.Net;
using System.Net.Http.Headers;

namespace LazyMount.Blobs.Registry;

/// <summary>A challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1): its scheme and its parameters.</summary>
internal sealed record Challenge(string Scheme, IReadOnlyDictionary<string, string> Parameters)
{
    /// <summary>The challenge of an answer with status 401; null when it has none that can be answered.</summary>
    public static Challenge? Of(HttpResponseMessage response)
        => response.StatusCode == HttpStatusCode.Unauthorized && response.Headers.NonValidated.TryGetValues("WWW-Authenticate", out HeaderStringValues headers) ? Choose(headers) : null;

    /// <summary>The Bearer challenge if the headers hold one with a realm, else a Basic one, else null.</summary>
    public static Challenge? Choose(IEnumerable<string> headers)
    {
        Challenge? basic = null;
        foreach (string header in headers)
        {
            foreach (Challenge challenge in ParseAll(header))
            {
                if (challenge.Scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase) && challenge.Parameters.ContainsKey("realm"))
                    return challenge with { Scheme = "Bearer" };
                if (challenge.Scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase))
                    basic ??= challenge with { Scheme = "Basic" };
            }
        }
        return basic;
    }

    // One header may hold several challenges: a token that no '=' follows begins the next. Malformed text ends the parsing.
    internal static List<Challenge> ParseAll(string header)
    {
        var challenges = new List<Challenge>();
        Dictionary<string, string>? parameters = null;
        int at = 0;
        while (true)
        {
            while (at < header.Length && header[at] is ' ' or '\t' or ',')
                at++;
            int start = at;
            while (at < header.Length && IsToken(header[at]))
                at++;
            if (at == start)
                return challenges;
            string token = header[start..at];
            int next = at;
            while (next < header.Length && header[next] is ' ' or '\t')
                next++;
            if (next == header.Length || header[next] != '=')
            {
                parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
                challenges.Add(new Challenge(token, parameters));
                continue;
            }
            if (parameters is null || ReadValue(header, next + 1, out at) is not { } value)
                return challenges;
            parameters.TryAdd(token, value);
        }
    }

    private static string? ReadValue(string header, int at, out int end)
    {
        while (at < header.Length && header[at] is ' ' or '\t')
            at++;
        end = at;
        if (at < header.Length && header[at] == '"')
        {
            var value = new System.Text.StringBuilder();
            for (end = at + 1; end < header.Length; end++)
            {
                if (header[end] == '"')
                {
                    end++;
                    return value.ToString();
                }
                if (header[end] == '\\' && end + 1 < header.Length)
                    end++;
                value.Append(header[end]);
            }
            return null;
        }
        while (end < header.Length && header[end] is not (' ' or '\t' or ','))
            end++;
        return header[at..end];
    }

    private static bool IsToken(char c) => char.IsAsciiLetterOrDigit(c) || "!#$%&'*+-.^_`|~".Contains(c);
}
