using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;

namespace LazyMount.Fuzz;

/// <summary>The source of one blob that is in memory.</summary>
internal sealed class MemorySource(byte[] blob) : IBlobSource
{
    public bool IsLocal => true;

    public bool IsVerified => true;

    public Task<Stream> OpenBlobAsync(Descriptor asked, long offset, long length, CancellationToken cancellationToken)
    {
        FuzzException.Require(offset >= 0 && length >= 0 && offset <= blob.Length - length, $"bytes {offset}+{length} are asked for of {blob.Length}");
        return Task.FromResult<Stream>(new MemoryStream(blob, (int)offset, (int)length));
    }

    public bool Distrust(Descriptor asked) => false;
}
