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
}
