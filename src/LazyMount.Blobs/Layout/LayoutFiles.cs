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
