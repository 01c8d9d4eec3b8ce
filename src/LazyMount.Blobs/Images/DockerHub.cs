namespace LazyMount.Blobs.Images;

/// <summary>Docker Hub, which references, configurations and URLs name differently.</summary>
internal static class DockerHub
{
    /// <summary>Its name in references, and wherever this program names it.</summary>
    public const string Name = "docker.io";

    /// <summary>The host of its registry.</summary>
    public const string Host = "registry-1.docker.io";

    /// <summary>True for each of its names.</summary>
    public static bool Is(string host) => host is Name or Host or "index.docker.io";

    /// <summary><see cref="Name"/> for each of its names; any other host as it is.</summary>
    public static string NameOf(string host) => Is(host) ? Name : host;

    /// <summary>The host to ask for a registry.</summary>
    public static string HostOf(string registry) => registry == Name ? Host : registry;
}
