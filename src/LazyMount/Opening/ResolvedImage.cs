using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Cli;
using LazyMount.Indexes.Store;
using LazyMount.Layers.Archives;
using Microsoft.Extensions.Logging;

namespace LazyMount.Opening;

/// <summary>The first half of the story: from what the user wrote to a manifest and a config. Owns the source.</summary>
internal sealed class ResolvedImage : IAsyncDisposable
{
    private ResolvedImage(Image image, IImageSource source, BlobCache cache) => (Image, Source, Cache) = (image, source, cache);

    public Image Image { get; }

    public IImageSource Source { get; }

    public BlobCache Cache { get; }

    /// <summary>Step 1, its text part: a bad reference is the user's mistake, whatever the command.</summary>
    public static ImageReference Parse(string reference)
    {
        try
        {
            return ImageReference.Parse(reference);
        }
        catch (FormatException e)
        {
            throw new UsageException(e.Message, e);
        }
    }

    /// <summary>Step 2: reference -> (image index -> platform) -> manifest and config.</summary>
    public static async Task<ResolvedImage> OpenAsync(ImageReference reference, CommandSettings settings, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        BlobCache cache = settings.OpenCache();
        IImageSource source = ArchiveSource.IsArchive(reference)
            ? await ArchiveSource.OpenAsync(reference, cache, loggers, cancellationToken)
            : settings.Offline && reference.Transport == Transport.Registry
                ? new OfflineSource(reference, cache)
                : ImageSource.Open(reference, new ImageSourceOptions { PlainHttp = settings.PlainHttp }, loggers);
        try
        {
            Image image = await Image.ResolveAsync(reference, source, settings.Platform, cache, cancellationToken);
            return new ResolvedImage(image, source, cache);
        }
        catch
        {
            await source.DisposeAsync();
            throw;
        }
    }

    /// <summary>Where its layers' indexes come from.</summary>
    public LayerStore OpenStore(CommandSettings settings, ILoggerFactory loggers)
        => new(Cache, loggers) { Trust = settings.IndexTrust, KeepsBlobs = settings.KeepsBlobs };

    public ValueTask DisposeAsync() => Source.DisposeAsync();
}
