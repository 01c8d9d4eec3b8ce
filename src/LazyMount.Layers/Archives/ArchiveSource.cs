using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;

namespace LazyMount.Layers.Archives;

/// <summary>Opens the source that a reference to an archive names.</summary>
public static class ArchiveSource
{
    internal const string DockerManifest = "manifest.json";
    private const string LayoutMarker = "oci-layout", LayoutIndex = "index.json";

    /// <summary>True when the reference names an archive.</summary>
    public static bool IsArchive(ImageReference reference) => reference.Transport is Transport.OciArchive or Transport.DockerArchive;

    /// <summary>
    /// Finds out what the archive holds. One that is compressed as a whole is read through once, the first time. A file that
    /// holds both forms, as docker writes since version 25, is read as what the reference calls it.
    /// </summary>
    /// <exception cref="ImageException">There is no such file, or no image in it.</exception>
    public static async Task<IImageSource> OpenAsync(ImageReference reference, BlobCache cache, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        ArchiveFile archive = await ArchiveFile.OpenAsync(reference, cache, loggers, cancellationToken).ConfigureAwait(false);
        try
        {
            bool isLayout = archive.Exists(LayoutMarker) || archive.Exists(LayoutIndex);
            bool isDocker = archive.Exists(DockerManifest);
            if (!(reference.Transport == Transport.OciArchive ? isLayout : isDocker))
            {
                throw Refusal(reference, archive, isLayout, isDocker);
            }
        }
        catch
        {
            archive.Dispose();
            throw;
        }
        return reference.Transport == Transport.OciArchive
            ? ImageSource.OpenLayout(reference, archive)
            : new DockerArchive(reference, archive, cache, loggers.CreateLogger<DockerArchive>());
    }

    private static ImageException Refusal(ImageReference reference, ArchiveFile archive, bool isLayout, bool isDocker)
    {
        string file = reference.Location;
        if (isDocker)
        {
            return new(ImageError.Invalid, $"{file} is a docker archive (manifest.json), not an OCI one: write docker-archive:{file}.");
        }
        if (isLayout)
        {
            return new(ImageError.Invalid, $"{file} is an OCI archive (index.json), not a docker one: write oci-archive:{file}.");
        }
        if (archive.Exists("repositories"))
        {
            return new(ImageError.Unsupported, $"{file} has no manifest.json: it was saved by a docker older than 1.10; load it into a newer one and save it again.");
        }
        string name = reference.Transport == Transport.OciArchive ? LayoutMarker : DockerManifest;
        return archive.Table.FindDirectoryOf(name) is { } directory
            ? new(ImageError.Invalid, $"The image in {file} lies in the directory {directory} of the archive, not at its top: make it again with tar -C {directory} -cf FILE .")
            : new(ImageError.Invalid, $"{file} is a tar file without an image: it has neither index.json (OCI) nor manifest.json (docker save); a container's tree as docker export writes it is none.");
    }
}
