using System.Buffers;
using System.Globalization;
using System.Text;

namespace LazyMount.Serving;

/// <summary>Paths in URLs, byte for byte: what is not an unreserved character (RFC 3986) is written as %XX.</summary>
internal static class UrlPath
{
    private static readonly SearchValues<byte> s_plain = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"u8);

    /// <summary>Writes bytes of a path; slashes stay.</summary>
    public static string Encode(ReadOnlySpan<byte> path)
    {
        if (!path.ContainsAnyExcept(s_plain))
        {
            return Encoding.ASCII.GetString(path);
        }
        var text = new StringBuilder(path.Length * 2);
        foreach (byte each in path)
        {
            if (s_plain.Contains(each))
            {
                text.Append((char)each);
            }
            else
            {
                text.Append('%').Append(Convert.ToHexString([each]));
            }
        }
        return text.ToString();
    }

    /// <summary>The absolute path of names; "/" for none.</summary>
    public static byte[] Join(IEnumerable<byte[]> names)
    {
        byte[] path = [.. names.SelectMany(name => (byte[])[(byte)'/', .. name])];
        return path.Length == 0 ? "/"u8.ToArray() : path;
    }

    /// <summary>
    /// Reads a path of a URL into its names. Null when it is not one: a bad escape, a zero byte, an escaped slash, or a name "." or "..", which
    /// clients resolve themselves. Empty names are left out.
    /// </summary>
    public static List<byte[]>? Decode(ReadOnlySpan<char> path)
    {
        List<byte[]> names = [];
        foreach (Range range in path.Split('/'))
        {
            ReadOnlySpan<char> name = path[range];
            if (name.IsEmpty)
            {
                continue;
            }
            if (DecodeName(name) is not { } bytes || bytes is [(byte)'.'] or [(byte)'.', (byte)'.'])
            {
                return null;
            }
            names.Add(bytes);
        }
        return names;
    }

    /// <summary>Reads a value of a query, in which a plus is a space. Null when it has a bad escape.</summary>
    public static byte[]? DecodeValue(ReadOnlySpan<char> value) => Decode(value.ToString().Replace('+', ' '), isName: false);

    private static byte[]? DecodeName(ReadOnlySpan<char> name) => Decode(name, isName: true);

    private static byte[]? Decode(ReadOnlySpan<char> text, bool isName)
    {
        byte[] bytes = new byte[text.Length];
        int count = 0;
        for (int i = 0; i < text.Length; i++)
        {
            char each = text[i];
            if (each == '%')
            {
                if (i + 2 >= text.Length || !byte.TryParse(text.Slice(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte escaped))
                {
                    return null;
                }
                (each, i) = ((char)escaped, i + 2);
                if (each == '/' && isName)
                {
                    return null;
                }
            }
            else if (!char.IsAscii(each))
            {
                return null;
            }
            if (each == 0)
            {
                return null;
            }
            bytes[count++] = (byte)each;
        }
        return bytes[..count];
    }
}
