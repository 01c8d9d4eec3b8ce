using LazyMount.Layers;
using Microsoft.Extensions.Logging;

namespace LazyMount.FileSystem;

/// <summary>The merged tree and its files' bytes: what every frontend serves. Thread-safe.</summary>
/// <param name="tree">The tree.</param>
/// <param name="layers">Its layers, lowest first. Not owned.</param>
/// <param name="logger">Read failures are logged here once per node, with node, layer and cause.</param>
public sealed class ImageFileSystem(ImageTree tree, IReadOnlyList<Layer> layers, ILogger<ImageFileSystem> logger)
{
    /// <summary>The tree.</summary>
    public ImageTree Tree { get; } = tree;

    /// <summary>
    /// Reads when all bytes are decoded in memory: fills <paramref name="data"/> and returns true. False: nothing was
    /// taken, use <see cref="ReadAsync"/>. No allocation. The node must be a regular file. Past the end gives 0 bytes.
    /// </summary>
    public bool TryRead(ulong id, long offset, int length, FileData data) => throw new NotImplementedException($"{layers}{logger}");

    /// <summary>
    /// The same, waiting for disk, network and decoding. Returns <see cref="Errno.None"/>, <see cref="Errno.EIO"/>
    /// (logged) or <see cref="Errno.EINTR"/> (cancelled); <paramref name="data"/> is filled on success only.
    /// </summary>
    public ValueTask<Errno> ReadAsync(ulong id, long offset, int length, FileData data, CancellationToken cancellationToken) => throw new NotImplementedException();
}
