using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Registry;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Sources;

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
    /// <summary>Opens a registry or a layout directory; nothing is fetched yet. A directory that does not exist throws <see cref="ImageException"/>.</summary>
    public static IImageSource Open(ImageReference reference, ImageSourceOptions options, ILoggerFactory loggers) => reference.Transport switch
    {
        Transport.Registry => new RegistrySource(reference, options, RegistryTimeouts.Default, loggers),
        Transport.OciLayout => new OciLayout(reference),
        _ => throw new ArgumentException("archives are opened by those who can read them", nameof(reference)),
    };

    /// <summary>Opens a layout whose files lie somewhere else. Owns them, whatever happens.</summary>
    public static IImageSource OpenLayout(ImageReference reference, LayoutFiles files) => new OciLayout(reference, files);
}
