using System.Text;

namespace LazyMount.Serving;

/// <summary>Tells pictures that browsers show by how they begin. The name counts for SVG alone, which is text.</summary>
internal static class PictureType
{
    private const int Head = 32;

    /// <summary>The media type of a picture, or null.</summary>
    public static async Task<string?> OfAsync(TreeView view, ulong node, byte[] name, CancellationToken cancellationToken)
        => Of(await FileAnswer.ReadAsync(view, node, 0, Head, Encoding.UTF8.GetString(name), cancellationToken), name);

    /// <param name="head">The first bytes of the file, at least 12 if it has so many.</param>
    /// <param name="name">Its name.</param>
    public static string? Of(ReadOnlySpan<byte> head, ReadOnlySpan<byte> name)
        => head.StartsWith((ReadOnlySpan<byte>)[0x89, (byte)'P', (byte)'N', (byte)'G', (byte)'\r', (byte)'\n', 0x1A, (byte)'\n']) ? "image/png"
            : head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]) ? "image/jpeg"
            : head.StartsWith("GIF87a"u8) || head.StartsWith("GIF89a"u8) ? "image/gif"
            : head.Length >= 12 && head.StartsWith("RIFF"u8) && head[8..].StartsWith("WEBP"u8) ? "image/webp"
            : head.Length >= 12 && head[4..].StartsWith("ftypavif"u8) ? "image/avif"
            : head.StartsWith("BM"u8) && name.EndsWith(".bmp"u8) ? "image/bmp"
            : head.StartsWith((ReadOnlySpan<byte>)[0, 0, 1, 0]) && name.EndsWith(".ico"u8) ? "image/x-icon"
            : name.EndsWith(".svg"u8) && head.TrimStart(" \r\n\t\uFEFF"u8).StartsWith((byte)'<') ? "image/svg+xml"
            : null;
}
