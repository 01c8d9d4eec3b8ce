using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Tests.Layers;

/// <summary>The source of one blob that is in memory.</summary>
internal sealed class BytesSource(byte[] blob) : IBlobSource
{
    public bool IsLocal { get; init; } = true;

    public bool IsVerified => true;

    public bool Distrust(Descriptor blob) => false;

    public Task<Stream> OpenBlobAsync(Descriptor asked, long offset, long length, CancellationToken cancellationToken)
        => Task.FromResult<Stream>(new MemoryStream(blob, (int)offset, (int)length));
}
