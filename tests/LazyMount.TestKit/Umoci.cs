namespace LazyMount.TestKit;

/// <summary>umoci(1), the reference for what an image's tree is.</summary>
public static class Umoci
{
    /// <summary>Unpacks an image as root; returns the directory of its tree.</summary>
    public static string Unpack(string layoutReference, string bundle)
    {
        Tool.Run("umoci", "unpack", "--image", layoutReference["oci:".Length..], bundle).EnsureSuccess();
        return Path.Combine(bundle, "rootfs");
    }
}
