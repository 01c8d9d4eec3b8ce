using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Registry;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Sources;

/// <summary>Opens the source that a reference names.</summary>
public static class ImageSource
{
    /// <summary>Opens a registry or a layout directory; nothing is fetched yet. A directory that does not exist throws <see cref="ImageException"/>.</summary>
    public static IImageSource Open(ImageReference reference, RegistryOptions options, ILoggerFactory loggers) => reference.Transport switch
    {
        Transport.Registry => new RegistrySource(reference, options, RegistryTimeouts.Default with { MaxRetryAfter = options.ReadTimeout }, loggers),
        Transport.OciLayout => new OciLayout(reference),
        _ => throw new ArgumentException("archives are opened by those who can read them", nameof(reference)),
    };

    /// <summary>Opens a layout whose files lie somewhere else. Owns them, whatever happens.</summary>
    public static IImageSource OpenLayout(ImageReference reference, LayoutFiles files) => new OciLayout(reference, files);
}
