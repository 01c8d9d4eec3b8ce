using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Comparing;

/// <summary>Writes differences as JSON Lines.</summary>
/// <param name="output">Where to.</param>
/// <param name="before">The first image.</param>
/// <param name="after">The second image.</param>
internal sealed class DifferenceJson(CommandOutput output, OpenedTree before, OpenedTree after) : IDisposable
{
    private readonly JsonLines _lines = new(output);

    public void Write(Difference difference)
    {
        byte[] path = (difference.After ?? difference.Before)!.Value.Path;
        byte[]? from = difference is { Kind: DifferenceKind.Renamed, Before: { } old } ? old.Path : null;
        _lines.Write(
            new DifferenceListing
            {
                Action = ActionOf(difference.Kind),
                Path = EntryListing.Text(path),
                PathBase64 = EntryListing.Exact(path),
                From = from is null ? null : EntryListing.Text(from),
                FromBase64 = from is null ? null : EntryListing.Exact(from),
                Changes = [.. NodeComparison.Names.Where(each => (difference.Changes & each.Change) != 0).Select(each => each.Name)],
                Before = Describe(before, difference.Before),
                After = Describe(after, difference.After),
            },
            ListingJson.Default.DifferenceListing);
    }

    public void Dispose() => _lines.Dispose();

    private static string ActionOf(DifferenceKind kind) => kind switch
    {
        DifferenceKind.Added => "added",
        DifferenceKind.Deleted => "deleted",
        DifferenceKind.Changed => "changed",
        _ => "renamed",
    };

    private static LayerEntryListing? Describe(OpenedTree side, ComparedEntry? entry)
        => entry is { } it ? LayerEntryListing.Of(side.Tree, it.Node, it.Path, layer => side.Image.Image.Layers[layer].Digest.ToString()) : null;
}
