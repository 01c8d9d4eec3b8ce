using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount index build`: the indexes of all layers into the local store.</summary>
internal static class IndexBuildCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var json = Verb.JsonOption("an array of { layer, digest, compressedSize, where, origin, proof, indexSize, entries, spans }");
        var verb = new Verb("build", "Make the indexes of all layers of an image, so that mounting it later takes no time. Each layer is streamed once, unless it is indexed already or holds a table of contents of its own. What others published is not used.",
            """
            lazymount index build debian:12
            lazymount index build --json oci:./layout:v1 | jq 'map(.indexSize) | add'
            """)
        { image, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, settings.ToOpening(), loggers, cancellationToken);
            var finder = resolved.OpenIndexes(settings.ToOpening(), loggers);
            IReadOnlyList<LayerIndex> indexes = await BuildAsync(host, finder, resolved.Image, cancellationToken);
            IReadOnlyList<IndexListing> listings = [.. resolved.Image.Layers.Select((layer, i)
                => IndexCommand.Describe(i, layer, "local", indexes[i].Origin, indexes[i].Proof.By, finder.TryFindStored(layer, resolved.Image)?.Size, indexes[i]))];
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

    /// <summary>With progress on the host's terminal.</summary>
    internal static Task<IReadOnlyList<LayerIndex>> BuildAsync(CommandHost host, IndexFinder finder, Image image, CancellationToken cancellationToken)
    {
        var progress = new IndexingProgress(host.Error, host.ErrorIsTerminal);
        progress.LayersFound(image.Layers);
        return progress.ShowWhile(finder.BuildAsync(image, progress, cancellationToken));
    }
}
