using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount index build`: the indexes of all layers into the local store.</summary>
internal static class IndexBuildCommand
{
    public static Command Create(CommandHost host) => LayersVerb.Create(host, "build",
        "Make the indexes of all layers of an image ahead of a mount. Each layer is streamed once, unless it is indexed already or holds a table of contents of its own. Indexes that others published are not used.",
        """
        lazymount index build debian:12
        lazymount index build --json oci:./layout:v1 | jq 'map(.indexSize) | add'
        """,
        () => ListingJson.Default.IReadOnlyListIndexListing,
        async (image, finder, cancellationToken) =>
        {
            IReadOnlyList<LayerIndex> indexes = await BuildAsync(host, finder, image, cancellationToken);
            return [.. image.Layers.Select((layer, i)
                => IndexCommand.Describe(i, layer, "local", indexes[i].Origin, indexes[i].Proof.By, finder.TryFindStored(layer, image)?.Size, indexes[i]))];
        },
        IndexCommand.Write);

    /// <summary>With progress on the host's terminal.</summary>
    internal static Task<IReadOnlyList<LayerIndex>> BuildAsync(CommandHost host, IndexFinder finder, Image image, CancellationToken cancellationToken)
    {
        var progress = new IndexingProgress(host.Error, host.ErrorTerminal);
        progress.LayersFound(image.Layers);
        return progress.ShowWhile(finder.BuildAsync(image, progress, cancellationToken));
    }
}
