using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Store;

namespace LazyMount.Images;

/// <summary>Told of progress and notes while an image is opened. The base class ignores them; a front end that shows them overrides. Called from any thread.</summary>
public class OpeningObserver : IProgress<LayerProgress>
{
    /// <summary>Ignores everything.</summary>
    public static OpeningObserver None { get; } = new();

    /// <summary>Something that the user should know, as a sentence without a full stop.</summary>
    public virtual void Note(string sentence)
    {
    }

    /// <summary>The manifest is there: these layers, lowest first, are indexed next, or their stored indexes are read.</summary>
    public virtual void LayersFound(IReadOnlyList<Descriptor> layers)
    {
    }

    /// <summary>A layer's indexing has advanced. Called often.</summary>
    public virtual void Report(LayerProgress value)
    {
    }
}
