using System.CommandLine;
using System.Text.Json.Serialization.Metadata;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Published;
using LazyMount.Indexes.Store;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount index push`: publishes the indexes of all layers, beside the image or bound to it.</summary>
internal static class IndexPushCommand
{
    private sealed record Request(ImageReference Reference, PublishedFormat Format, string? Tag, bool Replaces);

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var bind = new Option<string?>("--bind") { Description = "Tag an image index that names the image and the indexes by digest. A reference by the digest of that image index is lazy, and its digest vouches for all of it. Of a multi-platform image all platforms are indexed, or the one of --platform", HelpName = "TAG" };
        var force = new Option<bool>("--force") { Description = "Let --bind replace a tag that names something else" };
        var format = new Option<string?>("--format") { Description = "What to publish: lazymount: our own index, the smallest; soci: a SOCI index (version 1), which other tools read too; soci2: an image with a SOCI index (version 2), with --bind, which changes the image's digest [lazymount]", HelpName = "lazymount|soci|soci2" };
        var json = JsonOption.Either(new JsonForm(() => ListingJson.Default.PushListing, IsLines: false), new JsonForm(() => ListingJson.Default.BoundListing, IsLines: false, "--bind"));
        var verb = new Verb("push", "Publish the indexes of an image's layers in its repository or OCI layout. They become an artifact that refers to the image's manifest; with --bind they are also in an image index. The image's manifest stays as it is (except with --format soci2). Needs the right to push there. Layers that are not indexed yet are streamed first. Without --bind one platform of a multi-platform image is published at a time.",
            """
            lazymount index push registry.example/app:v1
            lazymount index push --bind v1-lazy registry.example/app:v1
            lazymount index push --platform linux/arm64 registry.example/app:v1
            lazymount index push oci:./layout:v1
            lazymount index push --format soci registry.example/app:v1
            """)
        { image, bind, force, format, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            Request request = Read(parsed.GetRequiredValue(image), parsed.GetValue(format), parsed.GetValue(bind), parsed.GetValue(force));
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            OpeningOptions options = settings.ToOpening();
            await using IImageSource source = await ResolvedImage.OpenSourceAsync(request.Reference, options, loggers, cancellationToken);
            IArtifactTarget target = source as IArtifactTarget
                ?? throw new CommandException($"cannot push to '{request.Reference.Place}': --offline forbids it; leave --offline out");
            var finder = new IndexFinder(options.Cache, loggers) { Trust = options.IndexTrust, KeepsBlobs = options.KeepsBlobs };
            var publisher = new IndexPublisher(target, finder.OpenBlobAsync);
            if (request.Tag is { } tag)
            {
                ImageSet images = await ResolvedImage.FindAsync(request.Reference, () => Image.ResolveAllAsync(request.Reference, source, options.Platform, options.Cache, cancellationToken));
                BoundImage bound = await BoundImage.BeginAsync(images, target, tag, request.Replaces, cancellationToken);
                Output(host, parsed.GetValue(json), await BindAsync(host, request, images, bound, finder, publisher, cancellationToken), ListingJson.Default.BoundListing, Write);
            }
            else
            {
                Image one = await ResolvedImage.FindAsync(request.Reference, () => Image.ResolveAsync(request.Reference, source, options.Platform, options.Cache, cancellationToken));
                PushedIndexes pushed = await PushAsync(host, one, request.Format, finder, publisher, cancellationToken);
                PushListing listing = Describe(pushed) ?? throw NothingToPublish(request.Reference, pushed);
                Output(host, parsed.GetValue(json), listing, ListingJson.Default.PushListing, (output, each) =>
                {
                    Write(output, each.Layers);
                    output.WriteLine($"{each.ArtifactDigest} in {request.Reference.Place}: {each.IndexSize} bytes, {IndexCommand.Share(each.IndexSize, each.CompressedSize)} of the layers");
                });
            }
            return ExitCode.Done;
        });
        return verb;
    }

    private static Request Read(string image, string? format, string? tag, bool force)
    {
        ImageReference reference = ImageArgument.Parse(image);
        PublishedFormat published = format switch
        {
            "lazymount" or null => PublishedFormat.LazyMount,
            "soci" => PublishedFormat.Soci,
            "soci2" => PublishedFormat.Soci2,
            string other => throw new UsageException($"--format '{other}' is none of lazymount, soci and soci2"),
        };
        if (published == PublishedFormat.Soci2 && tag is null)
        {
            throw new UsageException("--format soci2 makes another image: name it with --bind TAG");
        }
        if (published == PublishedFormat.Soci && tag is not null)
        {
            throw new UsageException("a SOCI index of version 1 cannot be bound: take --format soci2, or lazymount");
        }
        if (force && tag is null)
        {
            throw new UsageException("--force is for the tag of --bind: name one");
        }
        if (reference.Transport is Transport.OciArchive or Transport.DockerArchive)
        {
            throw new CommandException($"cannot push to '{reference}': nothing is added to an archive; copy the image to a registry or to an OCI layout directory first, with skopeo copy");
        }
        if (tag is not null)
        {
            try
            {
                _ = reference.WithTag(tag);
            }
            catch (FormatException e)
            {
                throw new UsageException($"--bind: {e.Message}", e);
            }
        }
        return new Request(reference, published, tag, force);
    }

    private static async Task<BoundListing> BindAsync(
        CommandHost host, Request request, ImageSet images, BoundImage bound, IndexFinder finder, IndexPublisher publisher, CancellationToken cancellationToken)
    {
        var listings = new List<BoundImageListing>();
        PushedIndexes? last = null;
        foreach (Image image in images.Images)
        {
            PushedIndexes pushed = last = await PushAsync(host, image, request.Format, finder, publisher, cancellationToken);
            Descriptor? changed = null;
            if (pushed.Manifest is { } artifact && request.Format == PublishedFormat.Soci2)
            {
                changed = bound.AddSoci(image, artifact);
            }
            else if (pushed.Manifest is { } ours)
            {
                bound.Add(image, ours);
            }
            listings.Add(new BoundImageListing
            {
                Platform = image.Platform?.ToString(),
                ManifestDigest = image.ManifestDescriptor.Digest.ToString(),
                NewManifestDigest = changed?.Digest.ToString(),
                Artifact = Describe(pushed),
            });
        }
        if (listings.TrueForAll(each => each.Artifact is null))
        {
            throw NothingToPublish(request.Reference, last!);
        }
        Descriptor index = await bound.PublishAsync(cancellationToken);
        ImageReference tagged = request.Reference.WithTag(request.Tag!);
        return new BoundListing
        {
            Reference = (tagged.Transport == Transport.Registry ? tagged.WithDigest(index.Digest) : tagged).ToString(),
            Tag = request.Tag!,
            ImageIndexDigest = index.Digest.ToString(),
            SourceDigest = images.Root.Descriptor.Digest.ToString(),
            Images = listings,
        };
    }

    private static async Task<PushedIndexes> PushAsync(CommandHost host, Image image, PublishedFormat format, IndexFinder finder, IndexPublisher publisher, CancellationToken cancellationToken)
        => await publisher.PushAsync(image, await IndexBuildCommand.BuildAsync(host, finder, image, cancellationToken), format, cancellationToken);

    private static CommandException NothingToPublish(ImageReference reference, PushedIndexes pushed)
        => new($"cannot push indexes of '{reference}': {(pushed.Layers.Count == 0 ? "it has no layers" : $"none of its layers can have one, layer 0 because {pushed.Layers[0].Reason}")}");

    private static PushListing? Describe(PushedIndexes pushed) => pushed.Manifest is not { } manifest ? null : new PushListing
    {
        ArtifactDigest = manifest.Digest.ToString(),
        ArtifactType = manifest.ArtifactType!,
        IndexSize = manifest.Size + pushed.Layers.Select(each => each.Blob).OfType<Descriptor>().DistinctBy(each => each.Digest).Sum(each => each.Size),
        CompressedSize = pushed.Layers.Select(each => each.Layer).DistinctBy(each => each.Digest).Sum(each => each.Size),
        Layers = [.. pushed.Layers.Select((each, i) => new PushedLayerListing
        {
            Layer = i,
            LayerDigest = each.Layer.Digest.ToString(),
            CompressedSize = each.Layer.Size,
            IndexDigest = each.Blob?.Digest.ToString(),
            IndexSize = each.Blob?.Size,
            Reason = each.Reason,
        })],
    };

    private static void Output<T>(CommandHost host, bool asJson, T listing, JsonTypeInfo<T> json, Action<CommandOutput, T> write)
    {
        if (!asJson)
        {
            write(host.Output, listing);
            return;
        }
        host.Output.WriteDocument(listing, json);
    }

    private static void Write(CommandOutput output, BoundListing listing)
    {
        foreach (BoundImageListing image in listing.Images)
        {
            output.WriteLine($"{Printable.Of(image.Platform ?? "image")} {image.ManifestDigest}{(image.NewManifestDigest is { } changed ? $" becomes {changed}" : "")}{(image.Artifact is null ? ": no layer needs an index" : "")}");
            Write(output, image.Artifact?.Layers ?? []);
        }
        if (listing.SourceDigest != listing.ImageIndexDigest)
        {
            output.WriteLine(listing.Images.Any(image => image.NewManifestDigest is not null)
                ? $"{listing.SourceDigest} becomes {listing.ImageIndexDigest}: signatures are of the old digest"
                : $"{listing.SourceDigest} and its indexes are in {listing.ImageIndexDigest}");
        }
        output.WriteLine(listing.Reference.Contains('@', StringComparison.Ordinal)
            ? $"{listing.Reference} is lazy and pinned; the tag {listing.Tag} names it"
            : $"{listing.Reference} names {listing.ImageIndexDigest}, which is lazy, and pinned by its digest");
    }

    private static void Write(CommandOutput output, IReadOnlyList<PushedLayerListing> layers)
    {
        if (layers.Count == 0)
        {
            return;
        }
        var table = new TextTable("LAYER", "COMPRESSED", "INDEX BYTES", "SHARE", "DIGEST", "INDEX") { RightAligned = [0, 1, 2, 3] };
        foreach (PushedLayerListing layer in layers)
        {
            table.Add(LayersCommand.Number(layer.Layer), LayersCommand.Number(layer.CompressedSize), LayersCommand.Number(layer.IndexSize),
                IndexCommand.Share(layer.IndexSize, layer.CompressedSize), layer.LayerDigest, layer.IndexDigest ?? $"none: {layer.Reason}");
        }
        table.Write(output);
    }
}
