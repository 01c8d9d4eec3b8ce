using LazyMount.Blobs;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers;

/// <summary>
/// Where a transcoding comes from when the cache has lost or damaged it: from another pass over the layer, which gives the
/// same bytes. Readers look into the cache first.
/// </summary>
/// <param name="rebuild">Makes the pass, and opens what it has put into the cache.</param>
internal sealed class TranscodedSource(Func<Task<SafeFileHandle>> rebuild) : IImageSource
{
    private readonly Lock _lock = new();
    private Task<SafeFileHandle>? _rebuilt;

    public bool IsLocal => false;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) => throw new NotSupportedException();

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        Task<SafeFileHandle> rebuilt;
        lock (_lock)
        {
            // One that has failed may go well the next time.
            if (_rebuilt is null or { IsFaulted: true } or { IsCanceled: true })
            {
                _rebuilt = Task.Run(rebuild);
            }
            rebuilt = _rebuilt;
        }
        SafeFileHandle file = await rebuilt.WaitAsync(cancellationToken).ConfigureAwait(false);
        return new FileRangeStream(file, $"The transcoded layer {blob.Digest}", offset, length, leaveOpen: true);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
