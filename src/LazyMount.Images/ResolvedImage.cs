using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Layers.Archives;
using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

/// <summary>An image whose reference was resolved to a manifest and a config. Owns the source.</summary>
public sealed class ResolvedImage : IAsyncDisposable
{
    private ResolvedImage(Image image, IImageSource source, BlobCache cache) => (Image, Source, Cache) = (image, source, cache);

    /// <summary>The manifest, its config and its layers.</summary>
    public Image Image { get; }

    /// <summary>Where the image's bytes come from; owned.</summary>
    public IImageSource Source { get; }

    /// <summary>Where they are kept.</summary>
    public BlobCache Cache { get; }

    /// <summary>Step 2: reference -> (image index -> platform) -> manifest and config.</summary>
    /// <exception cref="ImageException">There is no such image, or its source cannot be reached.</exception>
    public static async Task<ResolvedImage> OpenAsync(ImageReference reference, OpeningOptions options, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        IImageSource source = await OpenSourceAsync(Image.Pinned(reference, options.Root), options, loggers, cancellationToken);
        try
        {
            Image image = await FindAsync(reference, () => Image.ResolveAsync(reference, source, options.Platform, options.Cache, cancellationToken, options.Root));
            return new ResolvedImage(image, source, options.Cache);
        }
        catch
        {
            await source.DisposeAsync();
            throw;
        }
    }

    /// <summary>Looks for what a reference names. A failure also asks whether a file or directory of that name was meant.</summary>
    public static async Task<T> FindAsync<T>(ImageReference reference, Func<Task<T>> find)
    {
        try
        {
            return await find();
        }
        catch (ImageException e) when (e.Error is ImageError.NotFound or ImageError.Denied or ImageError.Unreachable)
        {
            if (LocalImage.Suggest(reference) is not { } suggestion)
            {
                throw;
            }
            throw new ImageException(e.Error, $"{e.Message}; {suggestion}", e);
        }
    }

    /// <summary>Opens the source that a reference names, for commands that need more of it than one image.</summary>
    /// <exception cref="ImageException">There is no such file or directory. A registry is not asked yet.</exception>
    public static async Task<IImageSource> OpenSourceAsync(ImageReference reference, OpeningOptions options, ILoggerFactory loggers, CancellationToken cancellationToken)
        => ArchiveSource.IsArchive(reference)
            ? await ArchiveSource.OpenAsync(reference, options.Cache, loggers, cancellationToken, options.Archive)
            : options.Offline && reference.Transport == Transport.Registry
                ? new OfflineSource(reference, options.Cache)
                : ImageSource.Open(reference, options.Registries with { Counters = options.Cache.Counters }, loggers);

    /// <summary>Where its layers' indexes come from.</summary>
    public IndexFinder OpenIndexes(OpeningOptions options, ILoggerFactory loggers)
        => new(Cache, loggers) { Trust = options.IndexTrust, KeepsBlobs = options.KeepsBlobs, FromTables = options.FromTables };

    /// <summary>
    /// Share of the bytes of the layers that is in the cache, from 0 to 1. A layer that is kept re-encoded counts whole when that is there. Nothing is verified.
    /// </summary>
    /// <param name="options">As the image was opened.</param>
    /// <param name="loggers">Told of damaged indexes.</param>
    public double CachedShare(OpeningOptions options, ILoggerFactory loggers)
    {
        LayerHead[]? heads = OpenIndexes(options, loggers).TryOpenStored(Image);
        long size = 0, cached = 0;
        for (int i = 0; i < Image.Layers.Count; i++)
        {
            Descriptor layer = Image.Layers[i];
            size += layer.Size;
            cached += heads?[i].Transcoding is { } transcoding && Cache.CachedBytes(transcoding) == transcoding.Size ? layer.Size : Cache.CachedBytes(layer);
        }
        foreach (LayerHead head in heads ?? [])
        {
            head.Close();
        }
        return size == 0 ? 1 : cached / (double)size;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Source.DisposeAsync();
}
