using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Tests.Layers;

/// <summary>The source of one blob that is in memory.</summary>
internal sealed class BytesSource(byte[] blob) : IImageSource
{
    public bool IsLocal => true;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<Stream> OpenBlobAsync(Descriptor asked, long offset, long length, CancellationToken cancellationToken)
        => Task.FromResult<Stream>(new MemoryStream(blob, (int)offset, (int)length));

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
