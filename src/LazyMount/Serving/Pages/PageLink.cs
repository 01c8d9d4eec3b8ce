using System.Globalization;

namespace LazyMount.Serving.Pages;

/// <summary>Where pages are. Paths of images are kept byte for byte.</summary>
internal static class PageLink
{
    public static string ToImage(ServedImage image) => $"/image/{image.Name}";

    public static string ToTree(ServedImage image, ReadOnlySpan<byte> path, int? layer, string more = "") => To("tree", image, path, layer, more);

    public static string ToFile(ServedImage image, ReadOnlySpan<byte> path, int? layer, string more = "") => To(Drive.Root, image, path, layer, more);

    public static string ToTar(ServedImage image, ReadOnlySpan<byte> path, int? layer) => To("tar", image, path, layer, "");

    public static string ToSizes(ServedImage image, ReadOnlySpan<byte> path, int? layer) => To("sizes", image, path, layer, "");

    public static string ToLog(ServedImage image, ReadOnlySpan<byte> path) => To("log", image, path, null, "");

    private static string To(string page, ServedImage image, ReadOnlySpan<byte> path, int? layer, string more)
    {
        string query = string.Join('&', ((string[])[layer is int number ? string.Create(CultureInfo.InvariantCulture, $"layer={number}") : "", more]).Where(part => part.Length > 0));
        return $"/{page}/{image.Name}{UrlPath.Encode(path)}{(query.Length > 0 ? "?" : "")}{query}";
    }
}
