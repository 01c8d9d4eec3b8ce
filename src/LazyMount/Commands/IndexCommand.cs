using System.CommandLine;
using System.Globalization;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount index`: make, publish and look at the indexes that let an image be read without fetching its layers whole.</summary>
internal static class IndexCommand
{
    public static Command Create(CommandHost host) => new Verb("index",
        "Make, publish and show layer indexes. An index tells what files a layer holds and where decoding can start, so that a file is read by fetching only the bytes it lies in. Whoever mounts an image whose indexes are published need not stream its layers first.",
        """
        lazymount index build registry.example/app:v1
        lazymount index push registry.example/app:v1
        lazymount index push --bind v1-lazy registry.example/app:v1
        lazymount index show registry.example/app:v1
        """)
    {
        IndexBuildCommand.Create(host),
        IndexPushCommand.Create(host),
        IndexShowCommand.Create(host),
    };

    internal static IndexListing Describe(int layer, Descriptor descriptor, string where, IndexOrigin origin, Voucher by, long? size, LayerIndex? index) => new()
    {
        Layer = layer,
        LayerDigest = descriptor.Digest.ToString(),
        CompressedSize = descriptor.Size,
        Where = where,
        Origin = LayersCommand.NameOf(origin),
        Proof = LayerProofs.NameOf(by),
        IndexSize = size,
        Entries = index?.Entries.Length,
        Spans = index?.Checkpoints.Count,
    };

    internal static void Write(CommandOutput output, IReadOnlyList<IndexListing> listings)
    {
        var table = new TextTable("LAYER", "COMPRESSED", "WHERE", "INDEX", "PROOF", "ENTRIES", "SPANS", "INDEX BYTES", "SHARE", "DIGEST") { RightAligned = [0, 1, 5, 6, 7, 8] };
        foreach (IndexListing index in listings)
        {
            table.Add(LayersCommand.Number(index.Layer), output.Size(index.CompressedSize), index.Where, index.Origin, index.Proof,
                LayersCommand.Number(index.Entries), LayersCommand.Number(index.Spans), index.IndexSize is { } size ? output.Size(size) : "-", Share(index.IndexSize, index.CompressedSize), output.DigestText(index.LayerDigest));
        }
        table.Write(output);
    }

    /// <summary>Such as "0.42 %".</summary>
    internal static string Share(long? part, long whole)
        => part is { } bytes && whole > 0 ? string.Create(CultureInfo.InvariantCulture, $"{100.0 * bytes / whole:0.00} %") : "-";
}
