using System.IO.Compression;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// Content codings (RFC 9110, section 8.4.1). We ask for "identity", but some servers and proxies encode all the same; digests and sizes
/// are of the decoded bytes. Others label a blob that is a gzip file with the coding "gzip" and send it as it is.
/// </summary>
internal static class ContentCoding
{
    /// <summary>The coding of an answer's body, such as "gzip", or several in the order in which they were applied, such as "gzip, br"; null for none.</summary>
    public static string? Of(HttpResponseMessage response)
        => response.Content.Headers.NonValidated.TryGetValues("Content-Encoding", out var values)
            && string.Join(", ", values.SelectMany(value => value.Split(',')).Select(value => value.Trim().ToLowerInvariant()).Where(value => value is not ("" or "identity" or "aws-chunked"))) is { Length: > 0 } codings
                ? codings == "x-gzip" ? "gzip" : codings
                : null;

    /// <summary>A stream of this coding can be decoded here.</summary>
    public static bool IsKnown(string coding) => coding is "gzip" or "deflate";

    /// <summary>Whether the first bytes of a body that is called gzip are a gzip file's, as they are or when they are decoded once.</summary>
    /// <param name="prefix">So many first bytes that a decoder gives some of its own: 4 KiB are enough for the first block of any encoder.</param>
    public static (bool AsTheyAre, bool Decoded) GzipIn(byte[] prefix)
    {
        if (!IsGzip(prefix))
            return (false, false);
        var first = new byte[2];
        try
        {
            using var decoding = new GZipStream(new MemoryStream(prefix), CompressionMode.Decompress);
            return (true, decoding.ReadAtLeast(first, first.Length, throwOnEndOfStream: false) == first.Length && IsGzip(first));
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            return (true, false);
        }
    }

    private static bool IsGzip(ReadOnlySpan<byte> bytes) => bytes is [0x1F, 0x8B, ..];

    /// <summary>Decodes a stream. Owns it.</summary>
    public static Stream Decode(Stream encoded, string coding)
        => coding == "gzip" ? new GZipStream(encoded, CompressionMode.Decompress) : new ZLibStream(encoded, CompressionMode.Decompress);

    /// <summary>Decodes a whole small body, or returns it as it is when it is not really encoded. Null: it decodes to more than <paramref name="maxSize"/> bytes.</summary>
    public static byte[]? DecodeAll(byte[] body, string coding, int maxSize)
    {
        bool isEncoded = coding switch
        {
            "gzip" => IsGzip(body),
            "deflate" => body is [0x78, ..],
            _ => false,
        };
        if (!isEncoded)
            return body;
        using Stream decoding = Decode(new MemoryStream(body), coding);
        using var decoded = new MemoryStream();
        var buffer = new byte[16 << 10];
        try
        {
            for (int read; (read = decoding.Read(buffer)) > 0;)
            {
                if (decoded.Length + read > maxSize)
                    return null;
                decoded.Write(buffer, 0, read);
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            return body; // whoever reads it will say that it is malformed
        }
        return decoded.ToArray();
    }
}
