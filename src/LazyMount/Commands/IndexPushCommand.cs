using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount index push`: the indexes of all layers beside the image, for everybody who mounts it.</summary>
internal static class IndexPushCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var format = new Option<string?>("--format") { Description = "What to publish: lazymount: our own index, the smallest; soci: a SOCI index (version 1), which other tools read too [lazymount]", HelpName = "lazymount|soci" };
        var json = Verb.JsonOption("{ digest, artifactType, indexSize, compressedSize, layers: [{ layer, digest, compressedSize, indexDigest, indexSize, reason }] }");
        var verb = new Verb("push", "Publish the indexes of an image's layers beside it: as an artifact that refers to the image's manifest, in the same repository or OCI layout. The image itself stays as it is. Needs the right to push there; layers that are not indexed yet are streamed first. Of a multi-platform image one platform is published at a time.",
            """
            lazymount index push registry.example/app:v1
            lazymount index push --platform linux/arm64 registry.example/app:v1
            lazymount index push oci:./layout:v1
            lazymount index push --format soci registry.example/app:v1
            """)
        { image, format, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            bool soci = parsed.GetValue(format) switch
            {
                "lazymount" or null => false,
                "soci" => true,
                string other => throw new UsageException($"--format '{other}' is neither lazymount nor soci"),
            };
            if (reference.Transport is Transport.OciArchive or Transport.DockerArchive)
            {
                throw new CommandException($"{reference} is an archive, to which nothing is added: copy the image to a registry or to an OCI layout directory first, with skopeo copy");
            }
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, settings.ToOpening(), loggers, cancellationToken);
            IArtifactTarget target = resolved.Source as IArtifactTarget
                ?? throw new CommandException($"nothing can be pushed to {reference.Place} with --offline: leave that out");
            var finder = resolved.OpenIndexes(settings.ToOpening(), loggers);
            IReadOnlyList<LayerIndex> indexes = await IndexBuildCommand.BuildAsync(host, finder, resolved.Image, cancellationToken);
            PushedIndexes pushed = soci
                ? await IndexPublisher.PushSociAsync(resolved.Image, indexes, (layer, token) => finder.OpenBlobAsync(layer, resolved.Image, token), target, cancellationToken)
                : await IndexPublisher.PushAsync(resolved.Image, indexes, target, cancellationToken);
            PushListing listing = Describe(reference, pushed);
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(listing, ListingJson.Default.PushListing);
            }
            else
            {
                Write(host.Output, listing, reference);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    private static PushListing Describe(ImageReference reference, PushedIndexes pushed) => pushed.Manifest is not { } manifest
        ? throw new CommandException($"{reference} has no layer to publish an index of: {(pushed.Layers.Count == 0 ? "it has no layers" : $"of layer 0, {pushed.Layers[0].Reason}")}")
        : new PushListing
        {
            Digest = manifest.Digest.ToString(),
            ArtifactType = manifest.ArtifactType!,
            IndexSize = manifest.Size + pushed.Layers.Select(each => each.Blob).OfType<Blobs.Oci.Descriptor>().DistinctBy(each => each.Digest).Sum(each => each.Size),
            CompressedSize = pushed.Layers.Select(each => each.Layer).DistinctBy(each => each.Digest).Sum(each => each.Size),
            Layers = [.. pushed.Layers.Select((each, i) => new PushedLayerListing
            {
                Layer = i,
                Digest = each.Layer.Digest.ToString(),
                CompressedSize = each.Layer.Size,
                IndexDigest = each.Blob?.Digest.ToString(),
                IndexSize = each.Blob?.Size,
                Reason = each.Reason,
            })],
        };

    private static void Write(CommandOutput output, PushListing listing, ImageReference reference)
    {
        var table = new TextTable("LAYER", "COMPRESSED", "INDEX BYTES", "SHARE", "DIGEST", "INDEX") { RightAligned = [0, 1, 2, 3] };
        foreach (PushedLayerListing layer in listing.Layers)
        {
            table.Add(LayersCommand.Number(layer.Layer), LayersCommand.Number(layer.CompressedSize), LayersCommand.Number(layer.IndexSize),
                IndexCommand.Share(layer.IndexSize, layer.CompressedSize), layer.Digest, layer.IndexDigest ?? $"none: {layer.Reason}");
        }
        table.Write(output);
        output.WriteLine($"{listing.Digest} in {reference.Place}: {listing.IndexSize} bytes, {IndexCommand.Share(listing.IndexSize, listing.CompressedSize)} of the layers");
    }
}
