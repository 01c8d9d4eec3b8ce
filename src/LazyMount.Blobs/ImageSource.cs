using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Registry;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs;

/// <summary>What a source needs to know besides the reference.</summary>
public sealed record ImageSourceOptions
{
    /// <summary>Speak HTTP instead of HTTPS to the registry. Loopback registries fall back to HTTP without it.</summary>
    public bool PlainHttp { get; init; }

    /// <summary>Where docker's config.json is looked for; null: $DOCKER_CONFIG, else ~/.docker.</summary>
    public string? DockerConfigDirectory { get; init; }
}

/// <summary>Opens the source that a reference names.</summary>
public static class ImageSource
{
    /// <summary>Opens it; nothing is fetched yet. A layout directory that does not exist throws <see cref="ImageException"/>.</summary>
    public static IImageSource Open(ImageReference reference, ImageSourceOptions options, ILoggerFactory loggers) => reference.Transport switch
    {
        Transport.OciLayout => new OciLayout(reference),
        _ => new RegistrySource(reference, options, RegistryTimeouts.Default, loggers),
    };
}
