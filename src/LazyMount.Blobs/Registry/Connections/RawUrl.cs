using System.Text;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>
/// URLs that are sent byte for byte as a server gave them: <see cref="Uri"/> decodes and encodes some characters of a path and a query anew,
/// which breaks the signature of a signed URL.
/// </summary>
internal static class RawUrl
{
    /// <summary>The URL that a reference names (RFC 3986, section 5), without its fragment; null when it is malformed.</summary>
    /// <param name="here">The URL of the answer that holds the reference.</param>
    /// <param name="reference">Such as the value of a Location header: a URL, "//host/path", "/path", "path" or "?query".</param>
    public static Uri? Resolve(Uri here, string reference)
    {
        string text = Sent(reference);
        if (HasScheme(text))
            return Create(text);
        if (text.StartsWith("//", StringComparison.Ordinal))
            return Create($"{here.Scheme}:{text}");
        string authority = here.GetLeftPart(UriPartial.Authority);
        if (text.StartsWith('/'))
            return Create(authority + text);
        if (text.StartsWith('?'))
            return Create(authority + here.AbsolutePath + text);
        return Uri.TryCreate(here, text, out Uri? relative) ? relative : null; // dot segments and all
    }

    /// <summary>An absolute URL, without its fragment; null for anything else.</summary>
    public static Uri? TryParse(string text)
    {
        text = Sent(text);
        return HasScheme(text) ? Create(text) : null;
    }

    /// <summary>The URL with parameters added to its query.</summary>
    public static Uri WithQuery(Uri url, string parameters)
        => Create($"{url.GetLeftPart(UriPartial.Authority)}{url.AbsolutePath}{(url.Query.Length > 1 ? $"{url.Query}&" : "?")}{parameters}")!;

    private static readonly System.Buffers.SearchValues<char> s_schemeCharacters = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    // What of a reference is sent: without white space around it and without its fragment.
    private static string Sent(string reference)
    {
        string text = reference.Trim();
        int fragment = text.IndexOf('#', StringComparison.Ordinal);
        return Escape(fragment < 0 ? text : text[..fragment]);
    }

    private static bool HasScheme(string text)
        => text.IndexOf("://", StringComparison.Ordinal) is > 0 and var scheme && text.AsSpan(0, scheme).IndexOfAnyExcept(s_schemeCharacters) < 0;

    private static Uri? Create(string text)
    {
        // The path may be left out; a request line cannot do that.
        int authority = text.IndexOf("://", StringComparison.Ordinal) + 3;
        int end = text.AsSpan(authority).IndexOfAny('/', '?');
        if (end < 0)
            text += "/";
        else if (text[authority + end] == '?')
            text = text.Insert(authority + end, "/");
        return Uri.TryCreate(text, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }, out Uri? url) && url.Host.Length > 0 ? url : null;
    }

    // What no request line can hold. A header's bytes come as one character each.
    private static string Escape(string text)
    {
        if (text.All(c => c is > ' ' and < '\x7F'))
            return text;
        var escaped = new StringBuilder(text.Length);
        foreach (char c in text)
        {
            if (c is > ' ' and < '\x7F')
                escaped.Append(c);
            else if (c <= 0xFF)
                escaped.Append('%').Append(((int)c).ToString("X2", System.Globalization.CultureInfo.InvariantCulture));
            else
                escaped.Append(Uri.EscapeDataString(c.ToString()));
        }
        return escaped.ToString();
    }
}
