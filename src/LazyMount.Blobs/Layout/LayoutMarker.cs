using System.Text;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Layout;

/// <summary>The file that marks a directory as an OCI layout and says of which version it is (image-layout.md, "oci-layout file").</summary>
internal sealed class LayoutMarker
{
    /// <summary>The file's name.</summary>
    public const string File = "oci-layout";

    /// <summary>Far more bytes than any such file needs.</summary>
    public const int MaxSize = 64 << 10;

    public static GoStruct<LayoutMarker> Form { get; } = new(("imageLayoutVersion", (ref json, to) => to.Version = json.ReadString()));

    /// <summary>What this program writes.</summary>
    public static ReadOnlyMemory<byte> Content { get; } = Encoding.UTF8.GetBytes("""{"imageLayoutVersion":"1.0.0"}""");

    public string Version { get; private set; } = "";
}
