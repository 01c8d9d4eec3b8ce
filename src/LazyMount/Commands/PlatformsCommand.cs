using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount platforms`: what an image index holds.</summary>
internal static class PlatformsCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var json = JsonOption.Document(() => ListingJson.Default.IReadOnlyListPlatformListing);
        var verb = new Verb("platforms", "List the platforms and artifacts of an image index. They are in the order of the index: images with their platforms, attestations and other artifacts. SIZE is that of the manifest in bytes. An image without an image index is listed with the platform of its config.",
            """
            lazymount platforms debian:12
            lazymount platforms --json debian:12 | jq -r '.[] | select(.kind == "image") | .platform'
            """)
        { image, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            IReadOnlyList<PlatformListing> listings = await ResolvedImage.FindAsync(reference, () => ListAsync(reference, settings.ToOpening(), loggers, cancellationToken));
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(listings, ListingJson.Default.IReadOnlyListPlatformListing);
            }
            else
            {
                Write(host.Output, listings);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    /// <summary>The entries of an image index; of one image, itself.</summary>
    internal static async Task<IReadOnlyList<PlatformListing>> ListAsync(ImageReference reference, OpeningOptions options, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        await using IImageSource source = await ResolvedImage.OpenSourceAsync(reference, options, loggers, cancellationToken);
        RawManifest root = await Image.ReadRootAsync(reference, source, options.Cache, cancellationToken);
        if (ManifestDocument.Parse(root.Bytes.Span, root.Descriptor.MediaType, $"the manifest of {reference}") is ImageIndex index)
        {
            return [.. index.Entries.Select(Describe)];
        }
        Image image = await Image.ResolveAsync(reference, source, platform: null, options.Cache, cancellationToken); // whichever it is for
        return
        [
            new PlatformListing
            {
                Platform = image.Platform?.ToString(),
                Kind = image.ArtifactType is null ? "image" : "artifact",
                ManifestDigest = image.ManifestDescriptor.Digest.ToString(),
                ManifestSize = image.ManifestBytes.Length,
                MediaType = image.ManifestDescriptor.MediaType,
                ArtifactType = image.ArtifactType,
            },
        ];
    }

    internal static PlatformListing Describe(IndexEntry entry) => new()
    {
        Platform = entry.Platform?.ToString(),
        Kind = entry.Kind switch
        {
            IndexEntryKind.Image => "image",
            IndexEntryKind.ImageIndex => "index",
            IndexEntryKind.Attestation => "attestation",
            _ => "artifact",
        },
        ManifestDigest = entry.DigestText,
        ManifestSize = entry.Descriptor?.Size is >= 0 and long size ? size : null,
        MediaType = entry.MediaType,
        ArtifactType = entry.Descriptor?.ArtifactType is { Length: > 0 } type ? type : null,
        Subject = entry.SubjectText,
    };

    private static void Write(CommandOutput output, IReadOnlyList<PlatformListing> listings)
    {
        var table = new TextTable("PLATFORM", "KIND", "SIZE", "DIGEST", "TYPE") { RightAligned = [2] };
        foreach (PlatformListing listing in listings)
        {
            table.Add(
                listing.Platform ?? "-",
                listing.Kind,
                listing.ManifestSize is { } size ? output.Size(size) : "-",
                listing.ManifestDigest.Length > 0 ? output.DigestText(Printable.Of(listing.ManifestDigest)) : "-",
                listing.Subject is { } subject ? $"of {output.DigestText(Printable.Of(subject))}" : Printable.Of(listing.ArtifactType ?? listing.MediaType));
        }
        table.Write(output);
    }
}
