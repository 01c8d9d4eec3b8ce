using System.CommandLine;
using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount layers`: an image's layers with what is known of them; nothing but manifests is fetched.</summary>
internal static class LayersCommand
{
    public static Command Create(CommandHost host)
    {
        var wide = new Option<bool>("--wide") { Description = "Show all columns, also on a terminal, and CREATED BY" };
        return LayersVerb.Create(host, "layers",
        "List the layers of an image, lowest first. INDEX says what serves a layer and INDEX BYTES how large that is: built, estargz, zstd:chunked, tar-headers, published or soci, or - for a layer that a mount would have to stream once. PROOF says who vouches for what it shows: the layer's own digest (layer), the digest of the manifest or image index (manifest), whoever may publish in the repository (repository), or only the server that gives the layer (source), or - where that is known only once the layer is read. What only the index itself tells is shown once it is here, as after a mount or an ls.",
        """
        lazymount layers debian:12
        lazymount layers --json debian:12 | jq 'map(.compressedSize) | add'
        """,
        () => ListingJson.Default.IReadOnlyListLayerListing,
        ListAsync,
        (output, listings, parsed) => Write(output, listings, parsed.GetValue(wide)),
        wide);
    }

    /// <summary>What is known of each layer, lowest first. No layer is fetched.</summary>
    internal static async Task<IReadOnlyList<LayerListing>> ListAsync(Image image, IndexFinder finder, CancellationToken cancellationToken)
    {
        IReadOnlyList<IndexOffer> offers = await finder.FindIndexesAsync(image, cancellationToken);
        ImageHistory history = ImageHistory.Read(image.ConfigBytes.Span, image.Layers.Count);
        return [.. image.Layers.Select((layer, i) => Describe(i, layer, offers[i], history.Of(i)))];
    }

    private static LayerListing Describe(int layer, Descriptor descriptor, IndexOffer offer, HistoryEntry? history) => new()
    {
        Layer = layer,
        LayerDigest = descriptor.Digest.ToString(),
        MediaType = descriptor.MediaType,
        CompressedSize = descriptor.Size,
        Indexed = offer.Stored is not null,
        Origin = offer.Origin is { } origin ? NameOf(origin) : null,
        Proof = offer.By is { } by ? LayerProofs.NameOf(by) : null,
        IndexSize = offer.Size,
        Format = offer.Stored?.Format.ToString().ToLowerInvariant(),
        UncompressedSize = offer.Stored?.UncompressedSize,
        Entries = offer.Stored?.Entries.Length,
        Spans = offer.Stored?.Checkpoints.Count,
        Created = HistoryCommand.CreatedOf(history),
        CreatedBy = HistoryCommand.Known(history?.CreatedBy),
        Command = HistoryCommand.Known(history?.Command),
    };

    /// <summary>As the formats are called where they come from.</summary>
    internal static string NameOf(IndexOrigin origin) => origin switch
    {
        IndexOrigin.Built => "built",
        IndexOrigin.Estargz => "estargz",
        IndexOrigin.ZstdChunked => "zstd:chunked",
        IndexOrigin.TarHeaders => "tar-headers",
        IndexOrigin.Published => "published",
        IndexOrigin.Soci => "soci",
        _ => origin.ToString(),
    };

    private static void Write(CommandOutput output, IReadOnlyList<LayerListing> listings, bool isWide)
    {
        if (output.Width is not null && !isWide)
        {
            WriteNarrow(output, listings);
            return;
        }
        string[] headings = ["LAYER", "COMPRESSED", "UNCOMPRESSED", "ENTRIES", "SPANS", "INDEX", "PROOF", "INDEX BYTES", "DIGEST", "MEDIA TYPE"];
        var table = new TextTable(isWide ? [.. headings, "CREATED BY"] : headings) { RightAligned = [0, 1, 2, 3, 4, 7], Cuttable = [] };
        foreach (LayerListing layer in listings)
        {
            string[] cells =
            [
                Number(layer.Layer), output.Size(layer.CompressedSize), layer.UncompressedSize is { } size ? output.Size(size) : "-", Number(layer.Entries), Number(layer.Spans),
                layer.Origin ?? "-", layer.Proof ?? "-", layer.IndexSize is { } indexSize ? output.Size(indexSize) : "-", layer.LayerDigest, Printable.Of(layer.MediaType),
            ];
            table.Add(isWide ? [.. cells, layer.Command ?? "-"] : cells);
        }
        table.Write(output);
    }

    // What fits a terminal; the rest is in --wide and --json.
    private static void WriteNarrow(CommandOutput output, IReadOnlyList<LayerListing> listings)
    {
        var table = new TextTable("LAYER", "SIZE", "ENTRIES", "INDEX", "PROOF", "DIGEST", "CREATED BY") { RightAligned = [0, 1, 2] };
        foreach (LayerListing layer in listings)
        {
            table.Add(
                Number(layer.Layer), output.Size(layer.CompressedSize), Number(layer.Entries), layer.Origin ?? "-", layer.Proof ?? "-",
                output.DigestText(layer.LayerDigest), layer.Command ?? "-");
        }
        table.Write(output);
    }

    internal static string Number(long? number) => number?.ToString(CultureInfo.InvariantCulture) ?? "-";
}
