using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Toc;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes.Store;

/// <summary>
/// The ways to get an image's indexes besides the store and a pass, in the order in which they are asked: the indexes that the
/// image's own documents name by digest; a layer's own table of contents, which costs a request or two; what lies beside the image.
/// </summary>
internal sealed class IndexSources : IDisposable
{
    private readonly Image _image;
    private readonly List<IIndexSource> _sources = [];

    /// <param name="image">The image.</param>
    /// <param name="policy">Which of the ways count.</param>
    /// <param name="logger">Told of what is used and what cannot be.</param>
    /// <param name="memory">What the indexes of the image's layers take together; null for layers that are looked at one by one.</param>
    /// <param name="questions">The patience with questions that the image can do without.</param>
    public IndexSources(Image image, IndexPolicy policy, ILogger logger, OptionalQuestions questions, ImageBudget? memory = null)
    {
        _image = image;
        if (!policy.IsOnline)
        {
            return; // what is here is a whole layer, a stored index, or nothing
        }
        if (policy.TakesBound)
        {
            _sources.Add(new BoundIndexes(image, questions, logger, memory)); // asks nobody unless the reference's documents name one
        }
        _sources.Add(new LayerToc(image.Source, policy.TakesUnannounced, logger, memory));
        if (policy.TakesReferrers)
        {
            _sources.Add(new ReferrerIndexes(image, questions, logger, memory));
        }
    }

    /// <summary>The sources for a layer. None for a layer without a trusted digest: its content has to be compared with its diff_id.</summary>
    public IReadOnlyList<IIndexSource> For(Descriptor layer) => _image.Source.DiffIdOf(layer.Digest) is null ? _sources : [];

    public void Dispose() => _sources.OfType<IDisposable>().ToList().ForEach(source => source.Dispose());
}
