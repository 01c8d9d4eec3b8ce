using LazyMount.FileSystem.Erofs;
using LazyMount.Images;
using LazyMount.Trees;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Exporting;

/// <summary>
/// Writes a tree as an EROFS image, which Linux mounts as it is. Holes stay holes of the file. The same image gives the same bytes.
/// </summary>
/// <param name="image">The image.</param>
/// <param name="output">An empty regular file.</param>
internal sealed class ErofsExporter(OpenedImage image, SafeFileHandle output)
{
    private const int MetadataBuffer = 1 << 20;

    /// <summary>Writes everything; what cannot be read throws. <paramref name="progress"/> is told the bytes of file content that are done.</summary>
    /// <exception cref="InvalidDataException">EROFS cannot hold this tree; says why in a clause.</exception>
    public async Task ExportAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        var erofs = new ErofsImage(image.Tree);
        byte[] metadata = new byte[MetadataBuffer];
        for (long done = 0, count; done < erofs.MetadataSize; done += count)
        {
            count = Math.Min(metadata.Length, erofs.MetadataSize - done);
            erofs.ReadMetadata(done, metadata.AsSpan(0, (int)count));
            RandomAccess.Write(output, metadata.AsSpan(0, (int)count), done);
        }
        RandomAccess.SetLength(output, erofs.Size);

        using var files = new FilesInTarOrder(image);
        long written = 0;
        foreach ((ulong id, long begin) in erofs.Files)
        {
            foreach ((long address, long at, long length) in erofs.DataOf(id, begin))
            {
                await files.ReadAsync(image.Tree.LayerOf(id), at, length, (bytes, done) => RandomAccess.Write(output, bytes, address + done), cancellationToken);
                written += length;
            }
            progress(written);
        }
    }
}
