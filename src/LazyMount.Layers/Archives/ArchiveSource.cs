using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers.Archives;

/// <summary>Opens the source that a reference to an archive names.</summary>
public static class ArchiveSource
{
    internal const string DockerManifest = "manifest.json";
    internal const string LayoutMarker = "oci-layout", LayoutIndex = "index.json";

    /// <summary>True when the reference names an archive.</summary>
    public static bool IsArchive(ImageReference reference) => reference.Transport is Transport.OciArchive or Transport.DockerArchive;

    /// <summary>
    /// Finds out what the archive holds. One that is compressed as a whole is read through once, the first time. A file that
    /// holds both forms, as docker writes since version 25, is read as what the reference calls it.
    /// </summary>
    /// <param name="reference">The archive, and the image in it.</param>
    /// <param name="cache">Where what is found of it is kept.</param>
    /// <param name="loggers">Where events go.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="file">The archive, when it is open already: owned then. Its path may lead to another one meanwhile.</param>
    /// <exception cref="ImageException">There is no such file, or no image in it.</exception>
    public static async Task<IImageSource> OpenAsync(
        ImageReference reference, BlobCache cache, ILoggerFactory loggers, CancellationToken cancellationToken, SafeFileHandle? file = null)
    {
        ArchiveFile archive = await ArchiveFile.OpenAsync(reference, file, cache, loggers, cancellationToken).ConfigureAwait(false);
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
            return new(ImageError.Invalid, $"cannot use '{file}' as an OCI archive: it is a docker archive (manifest.json); did you mean 'docker-archive:{file}'?");
        }
        if (isLayout)
        {
            return new(ImageError.Invalid, $"cannot use '{file}' as a docker archive: it is an OCI archive (index.json); did you mean 'oci-archive:{file}'?");
        }
        if (archive.Exists("repositories"))
        {
            return new(ImageError.Unsupported, $"cannot use the archive '{file}': it was saved by a docker older than 1.10 and has no manifest.json; load it into a newer docker and save it again");
        }
        string name = reference.Transport == Transport.OciArchive ? LayoutMarker : DockerManifest;
        return archive.Table.FindDirectoryOf(name) is { } directory
            ? new(ImageError.Invalid, $"cannot use the archive '{file}': its image is in the directory '{directory}', not at the top; make the archive again with tar -C '{directory}' -cf FILE .")
            : new(ImageError.Invalid, $"cannot use the archive '{file}': it has neither index.json (OCI) nor manifest.json (docker save); make an archive with docker save or skopeo copy, not with docker export");
    }
}
