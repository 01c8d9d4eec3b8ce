using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

/// <summary>An image with the indexes of all its layers, for questions about what each layer does. Reads no content of files.</summary>
public sealed class IndexedImage : IAsyncDisposable
{
    private readonly ResolvedImage _resolved;
    private readonly LayerIndex[] _layers;

    private IndexedImage(ResolvedImage resolved, LayerIndex[] layers) => (_resolved, _layers) = (resolved, layers);

    /// <summary>The manifest, its config and its layers.</summary>
    public Image Image => _resolved.Image;

    /// <summary>Resolves a reference and gets the index of every layer, as <see cref="OpenedImage.OpenAsync"/> does.</summary>
    /// <param name="reference">The image.</param>
    /// <param name="options">How to open it. <see cref="OpeningOptions.Layer"/> is not looked at.</param>
    /// <param name="observer">Told what happens meanwhile.</param>
    /// <param name="loggers">For everything below.</param>
    /// <param name="cancellationToken">Gives up; nothing half-written stays.</param>
    /// <exception cref="ImageException">The image cannot be opened.</exception>
    public static async Task<IndexedImage> OpenAsync(
        ImageReference reference, OpeningOptions options, OpeningObserver observer, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, options, loggers, cancellationToken).ConfigureAwait(false);
        try
        {
            observer.LayersFound(resolved.Image.Layers);
            return new IndexedImage(resolved, await resolved.OpenIndexes(options, loggers).GetAsync(resolved.Image, observer, cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            await resolved.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>What each layer did to a path; see <see cref="PathLog.Of"/>.</summary>
    /// <exception cref="ImageException">The layers make no tree, or an index cannot be read.</exception>
    public IEnumerable<PathEvent> LogOf(byte[] path, CancellationToken cancellationToken)
    {
        using IEnumerator<PathEvent> events = PathLog.Of(_layers, path, cancellationToken).GetEnumerator();
        while (Ask(events.MoveNext))
        {
            yield return events.Current;
        }
    }

    /// <summary>The bytes that nobody sees; see <see cref="WastedBytes.Measure"/>.</summary>
    /// <exception cref="ImageException">The layers make no tree, or an index cannot be read.</exception>
    public WastedBytes MeasureWaste(int pathCount, int pathDepth, CancellationToken cancellationToken)
        => Ask(() => WastedBytes.Measure(_layers, pathCount, pathDepth, cancellationToken));

    private T Ask<T>(Func<T> question)
    {
        try
        {
            return question();
        }
        catch (InvalidDataException e)
        {
            throw NoTree(Image, e);
        }
    }

    /// <summary>What is said of an image whose layers cannot be merged.</summary>
    internal static ImageException NoTree(Image image, InvalidDataException reason)
        => new(ImageError.Invalid, $"cannot merge the layers of '{image.Reference}' into a tree: {reason.Message}; build the image again", reason);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        foreach (LayerIndex layer in _layers.Distinct())
        {
            layer.Close();
        }
        return _resolved.DisposeAsync();
    }
}
