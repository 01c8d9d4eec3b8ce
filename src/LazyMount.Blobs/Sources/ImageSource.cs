using System.Runtime.CompilerServices;
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

    /// <summary>The tags of a registry's repository, in its order and as its pages come, or the names that a layout's images and artifacts have.</summary>
    /// <param name="reference">Any image of the repository or layout. Not of an archive.</param>
    /// <param name="options">How registries are reached.</param>
    /// <param name="loggers">For the source.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ImageException">There is no such repository, or it does not list them.</exception>
    public static async IAsyncEnumerable<string> ListTagsAsync(ImageReference reference, RegistryOptions options, ILoggerFactory loggers, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        IImageSource source = Open(reference, options, loggers);
        await using (source.ConfigureAwait(false))
        {
            IAsyncEnumerable<string> tags = source is RegistrySource registry ? registry.ListTagsAsync(options.Note, cancellationToken) : ((OciLayout)source).ListNames().ToAsyncEnumerable();
            await foreach (string tag in tags.ConfigureAwait(false))
                yield return tag;
        }
    }
}
