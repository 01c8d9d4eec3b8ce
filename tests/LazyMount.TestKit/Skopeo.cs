namespace LazyMount.TestKit;

/// <summary>skopeo(1), the reference for pushing and pulling.</summary>
public static class Skopeo
{
    /// <summary>Pushes an image, index and all platforms included; returns its name at the registry.</summary>
    public static string Push(string image, RegistryServer registry, string name, string? credentials = null)
    {
        string destination = $"{registry.Host}/{name}";
        string[] login = credentials is null ? [] : ["--dest-creds", credentials];
        Tool.Run("skopeo", ["copy", "--quiet", "--all", "--dest-tls-verify=false", .. login, image, $"docker://{destination}"]).EnsureSuccess();
        return destination;
    }

    /// <summary>
    /// Converts an image of a layout to zstd:chunked. From layout to layout nothing is looked up in skopeo's cache of blob names,
    /// which would make it take a known blob in another compression.
    /// </summary>
    public static void ConvertToZstdChunked(string layoutDirectory, string targetDirectory, string tag)
        => Tool.Run("skopeo", "copy", "--quiet", "--dest-compress", "--dest-compress-format", "zstd:chunked", $"oci:{layoutDirectory}:{tag}", $"oci:{targetDirectory}:{tag}").EnsureSuccess();
}
