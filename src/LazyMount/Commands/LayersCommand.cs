using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using LazyMount.Blobs;
using LazyMount.Blobs.Oci;
using LazyMount.Layers;
using LazyMount.Mounting;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount layers`: an image's layers with what is known of them; nothing but the manifest is fetched.</summary>
internal static class LayersCommand
{
    public static Command Create(CommandHost host)
    {
        var image = Verb.ImageArgument();
        var json = Verb.JsonOption("an array of { layer, digest, mediaType, compressedSize, indexed, format, uncompressedSize, entries, spans }");
        var verb = new Verb("layers", "List the layers of an image, lowest first. What only a layer's index tells is shown once it is cached, as after a mount or an ls.",
            """
            lazymount layers debian:12
            lazymount layers --json debian:12 | jq 'map(.compressedSize) | add'
            """)
        { image, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ResolvedImage.Parse(parsed.GetRequiredValue(image));
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, settings, loggers, cancellationToken);
            var store = new LayerStore(resolved.Cache, loggers);
            IReadOnlyList<LayerListing> listings = [.. resolved.Image.Layers.Select((layer, i) => Describe(i, layer, store.TryLoad(layer)))];
            if (parsed.GetValue(json))
            {
                JsonSerializer.Serialize(host.Output.Stream, listings, DocumentJson.Default.IReadOnlyListLayerListing);
                host.Output.WriteLine();
            }
            else
            {
                Write(host.Output, listings);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    internal static LayerListing Describe(int layer, Descriptor descriptor, LayerIndex? index) => new()
    {
        Layer = layer,
        Digest = descriptor.Digest.ToString(),
        MediaType = descriptor.MediaType,
        CompressedSize = descriptor.Size,
        Indexed = index is not null,
        Format = index?.Format.ToString().ToLowerInvariant(),
        UncompressedSize = index?.UncompressedSize,
        Entries = index?.Entries.Length,
        Spans = index?.Checkpoints.Count,
    };

    internal static void Write(CommandOutput output, IReadOnlyList<LayerListing> listings)
    {
        var table = new TextTable("LAYER", "COMPRESSED", "UNCOMPRESSED", "ENTRIES", "SPANS", "INDEX", "DIGEST", "MEDIA TYPE") { RightAligned = [0, 1, 2, 3, 4] };
        foreach (LayerListing layer in listings)
        {
            table.Add(Number(layer.Layer), Number(layer.CompressedSize), Number(layer.UncompressedSize), Number(layer.Entries), Number(layer.Spans),
                layer.Indexed ? "cached" : "-", layer.Digest, layer.MediaType);
        }
        table.Write(output);
    }

    private static string Number(long? number) => number?.ToString(CultureInfo.InvariantCulture) ?? "-";
}
