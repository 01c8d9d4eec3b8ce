namespace LazyMount.Blobs;

/// <summary>
/// A blob on its way into the cache. <see cref="Append"/> in order, then <see cref="Commit"/>; disposing without
/// commit removes the staged file. The caller has hashed the bytes itself and commits only what it verified.
/// </summary>
public sealed class BlobStaging : IDisposable
{
    internal BlobStaging() => throw new NotImplementedException();

    /// <summary>Appends bytes. A full or failing disk throws <see cref="ImageException"/> (<see cref="ImageError.Local"/>).</summary>
    public void Append(ReadOnlySpan<byte> bytes) => throw new NotImplementedException();

    /// <summary>Publishes the file under its final name, atomically.</summary>
    public void Commit() => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Dispose() => throw new NotImplementedException();
}
