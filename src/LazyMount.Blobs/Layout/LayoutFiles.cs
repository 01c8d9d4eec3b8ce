using LazyMount.Blobs.Images;
namespace LazyMount.Blobs.Layout;

/// <summary>The files of an OCI image layout, wherever they lie: in a directory or in an archive. Thread-safe.</summary>
public abstract class LayoutFiles : IDisposable
{
    /// <summary>What errors call a file of it, such as "the layout's file /a/b/index.json".</summary>
    public abstract string NameOf(string path);

    /// <summary>True when there is such a file; paths are relative and have slashes.</summary>
    public abstract bool Exists(string path);

    /// <summary>Opens a range of a file, from <paramref name="offset"/> on for <paramref name="length"/> bytes; null is to its end.</summary>
    /// <exception cref="ImageException">There is no such file (<see cref="ImageError.NotFound"/>), or it cannot be read.</exception>
    public abstract Stream Open(string path, long offset, long? length, out long size);

    /// <summary>Writes a file, whole or not at all, in the place of one that was there.</summary>
    /// <exception cref="ImageException">These files cannot be written to (<see cref="ImageError.Unsupported"/>), or the disk fails.</exception>
    public virtual void Write(string path, ReadOnlySpan<byte> bytes)
        => throw new ImageException(ImageError.Unsupported, $"Cannot write {NameOf(path)}: nothing is added to an archive; copy the image to a layout directory with skopeo copy IMAGE oci:DIR:TAG, and use that.");

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Lets go of what it holds.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }
}
