using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount history`: what made each layer of an image. Only the manifest and the config are fetched.</summary>
internal static class HistoryCommand
{
    public static Command Create(CommandHost host) => LayersVerb.Create(host, "history",
        "List what made each layer of an image, lowest first. Steps that made no layer have - for LAYER. SIZE is that of the compressed layer.",
        """
        lazymount history debian:12
        lazymount history --json debian:12 | jq -r '.[] | select(.empty | not) | .createdBy'
        """,
        () => ListingJson.Default.IReadOnlyListHistoryListing,
        (image, _, _) =>
        {
            ImageHistory history = ImageHistory.Read(image.ConfigBytes.Span, image.Layers.Count);
            if (history.Problem is { } problem)
            {
                host.Note($"the history of {image.Reference} does not tell what made which layer: {problem}");
            }
            return Task.FromResult<IReadOnlyList<HistoryListing>>([.. history.Steps.Select(step => Describe(step, image))]);
        },
        (output, listings, _) => Write(output, listings));

    /// <summary>When a step was made, as JSON has it; null when that is not known.</summary>
    internal static string? CreatedOf(HistoryEntry? entry) => entry?.Created is { } created ? EntryFormat.FullTime(created.Seconds, created.Nanoseconds) : null;

    private static HistoryListing Describe(HistoryStep step, Image image) => new()
    {
        Layer = step.Layer,
        LayerDigest = step.Layer is int layer ? image.Layers[layer].Digest.ToString() : null,
        CompressedSize = step.Layer is int number ? image.Layers[number].Size : null,
        Created = CreatedOf(step.Entry),
        CreatedBy = Known(step.Entry?.CreatedBy),
        Author = Known(step.Entry?.Author),
        Comment = Known(step.Entry?.Comment),
        Empty = step.Layer is null && step.Entry is not { IsEmpty: false },
        Entry = step.Entry,
    };

    internal static string? Known(string? text) => text is { Length: > 0 } ? text : null;

    private static void Write(CommandOutput output, IReadOnlyList<HistoryListing> listings)
    {
        var table = new TextTable("LAYER", "CREATED", "SIZE", "DIGEST", "CREATED BY") { RightAligned = [0, 2] };
        foreach (HistoryListing listing in listings)
        {
            HistoryEntry? entry = listing.Entry;
            table.Add(
                LayersCommand.Number(listing.Layer),
                entry?.Created is { } created ? EntryFormat.ShortTime(created.Seconds) : "-",
                listing.CompressedSize is { } size ? output.Size(size) : "-",
                listing.LayerDigest is { } digest ? output.DigestText(digest) : "-",
                Known(entry?.Command) ?? Known(entry?.Comment) ?? "-");
        }
        table.Write(output);
    }
}
