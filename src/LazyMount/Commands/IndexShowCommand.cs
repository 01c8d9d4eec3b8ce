using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount index show`: what indexes there are of an image's layers, here and published.</summary>
internal static class IndexShowCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var json = Verb.JsonOption("an array of { layer, digest, compressedSize, where, origin, proof, indexSize, entries, spans }");
        var verb = new Verb("show", "List the indexes of an image's layers: those that are here (local) and those that lie beside the image (published), as far as --index-trust lets them be used. Published ones are fetched and looked at, but not kept; one without entries is of no use, -v says why. PROOF says who vouches for it: the layer's own digest, the manifest's digest, the repository, or only the source.",
            """
            lazymount index show debian:12
            lazymount index show --json debian:12 | jq '.[] | select(.where == "published")'
            """)
        { image, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, settings.ToOpening(), loggers, cancellationToken);
            var finder = resolved.OpenIndexes(settings.ToOpening(), loggers);
            IReadOnlyList<(IndexOffer Published, LayerIndex? Index)?> published = await finder.ReadPublishedAsync(resolved.Image, cancellationToken);
            var listings = new List<IndexListing>();
            for (int i = 0; i < published.Count; i++)
            {
                Descriptor layer = resolved.Image.Layers[i];
                if (finder.TryFindStored(layer, resolved.Image) is { Stored: { } local } stored)
                {
                    listings.Add(IndexCommand.Describe(i, layer, "local", local.Origin, local.Proof.By, stored.Size, local));
                }
                if (published[i] is { } found)
                {
                    listings.Add(IndexCommand.Describe(i, layer, "published", found.Published.Origin!.Value, found.Published.By, found.Published.Size, found.Index));
                }
            }
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(listings, ListingJson.Default.IReadOnlyListIndexListing);
            }
            else
            {
                IndexCommand.Write(host.Output, listings);
            }
            return ExitCode.Done;
        });
        return verb;
    }
}
