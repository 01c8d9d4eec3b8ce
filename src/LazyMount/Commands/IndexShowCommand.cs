using System.CommandLine;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Mounting;

namespace LazyMount.Commands;

/// <summary>`lazymount index show`: what indexes there are of an image's layers, here and published.</summary>
internal static class IndexShowCommand
{
    public static Command Create(CommandHost host) => LayersVerb.Create(host, "show",
        "List the indexes of an image's layers: those in the local store (local) and those in the image's repository or layout (published), as far as --index-trust lets them be used. Published indexes are fetched and checked, but not kept; an index without entries cannot be used, and -v says why. BOUND: the digest of the image's manifest or image index vouches for the index.",
        """
        lazymount index show debian:12
        lazymount index show --json debian:12 | jq '.[] | select(.where == "published")'
        """,
        IndexCommand.Shape,
        DocumentJson.Default.IReadOnlyListIndexListing,
        async (image, store, cancellationToken) =>
        {
            IReadOnlyList<(PublishedIndex Published, LayerIndex? Index)?> published = await store.ReadPublishedAsync(image, cancellationToken);
            var listings = new List<IndexListing>();
            for (int i = 0; i < published.Count; i++)
            {
                Descriptor layer = image.Layers[i];
                if (store.TryFindStored(layer, image) is { Stored: { } local } stored)
                {
                    listings.Add(IndexCommand.Describe(i, layer, "local", local.Origin, local.IsBound, stored.Size, local));
                }
                if (published[i] is { } found)
                {
                    listings.Add(IndexCommand.Describe(i, layer, "published", found.Published.Origin, found.Published.IsBound, found.Published.Blob.Size, found.Index));
                }
            }
            return listings;
        },
        IndexCommand.Write);
}
