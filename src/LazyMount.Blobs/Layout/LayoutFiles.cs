using LazyMount.Blobs.Images;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>The files of an OCI image layout, wherever they lie: in a directory or in an archive. Thread-safe.</summary>
public abstract class LayoutFiles : IDisposable
{
    /// <summary>What errors call a file of it, such as "the layout's file '/a/b/index.json'".</summary>
    public abstract string NameOf(string path);

    /// <summary>The open archive that the files are in; null for a directory.</summary>
    public virtual SafeFileHandle? Archive => null;

    /// <summary>True when there is such a file; paths are relative and have slashes.</summary>
    public abstract bool Exists(string path);

    /// <summary>Opens a range of a file, from <paramref name="offset"/> on for <paramref name="length"/> bytes; null is to its end.</summary>
    /// <exception cref="ImageException">There is no such file (<see cref="ImageError.NotFound"/>), or it cannot be read.</exception>
    public abstract Stream Open(string path, long offset, long? length, out long size);

    /// <summary>All bytes of a file.</summary>
    /// <exception cref="ImageException">As <see cref="Open"/>; or the file is larger than <paramref name="maxSize"/> bytes.</exception>
    public byte[] ReadAll(string path, int maxSize)
    {
        using Stream stream = Open(path, 0, null, out long size);
        if (size > maxSize)
            throw new ImageException(ImageError.Invalid, $"cannot read {NameOf(path)}: it has {size} bytes, more than the maximum of {maxSize}");
        byte[] bytes = new byte[size];
        stream.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>Writes a file, whole or not at all, in the place of one that was there.</summary>
    /// <exception cref="ImageException">These files cannot be written to (<see cref="ImageError.Unsupported"/>), or the disk fails.</exception>
    public virtual void Write(string path, ReadOnlySpan<byte> bytes) => throw Unchangeable(path);

    /// <summary>
    /// Reads a file, changes it and writes it, while no other process changes a file here. Readers are not held up: they read
    /// the file as it was or as it is then.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="maxSize">The most bytes that the file may have, before and after.</param>
    /// <param name="change">Makes the new content from the old, which is null when there is no such file. Null: nothing changes.</param>
    /// <param name="cancellationToken">Ends the waiting for other processes.</param>
    /// <exception cref="ImageException">As <see cref="Write"/>; or another process does not finish its change.</exception>
    public virtual Task ChangeAsync(string path, int maxSize, Func<ReadOnlyMemory<byte>?, byte[]?> change, CancellationToken cancellationToken)
        => throw Unchangeable(path);

    private ImageException Unchangeable(string path)
        => new(ImageError.Unsupported, $"cannot write {NameOf(path)}: an archive cannot be changed; copy the image to a layout directory with skopeo copy IMAGE oci:DIR:TAG, and use that");

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
