using System.IO.Compression;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// Content codings (RFC 9110, section 8.4.1). We ask for "identity", but some servers and proxies encode all the same; digests and sizes
/// are of the decoded bytes. Others label a blob that is a gzip file with the coding "gzip" and send it as it is.
/// </summary>
internal static class ContentCoding
{
    /// <summary>The coding of an answer's body: "gzip" or "deflate"; null for none, or for one that is not known.</summary>
    public static string? Of(HttpResponseMessage response)
        => response.Content.Headers.NonValidated.TryGetValues("Content-Encoding", out var values)
            ? values.SelectMany(value => value.Split(',')).Select(value => value.Trim().ToLowerInvariant()).LastOrDefault(value => value is not ("" or "identity")) switch
            {
                "gzip" or "x-gzip" => "gzip",
                "deflate" => "deflate",
                _ => null,
            }
            : null;

    /// <summary>Decodes a stream. Owns it.</summary>
    public static Stream Decode(Stream encoded, string coding)
        => coding == "gzip" ? new GZipStream(encoded, CompressionMode.Decompress) : new ZLibStream(encoded, CompressionMode.Decompress);

    /// <summary>Decodes a whole small body, or returns it as it is when it is not really encoded. Null: it decodes to more than <paramref name="maxSize"/> bytes.</summary>
    public static byte[]? DecodeAll(byte[] body, string coding, int maxSize)
    {
        bool isEncoded = coding == "gzip" ? body is [0x1F, 0x8B, ..] : body is [0x78, ..];
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
        catch (InvalidDataException)
        {
            return body; // whoever reads it will say that it is malformed
        }
        return decoded.ToArray();
    }
}
