using System.Buffers;
using System.Security.Cryptography;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>Reads a whole blob and compares it with its descriptor's digest and size.</summary>
public static class VerifiedCopy
{
    private const int BufferSize = 256 << 10;

    /// <summary>True when size and digest are right. A false copy is the caller's to throw away.</summary>
    /// <param name="blob">What it should be.</param>
    /// <param name="from">Its bytes.</param>
    /// <param name="to">An empty file for a copy, or null.</param>
    /// <param name="progress">Told how many bytes have passed.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<bool> RunAsync(Descriptor blob, Stream from, SafeFileHandle? to, Action<long> progress, CancellationToken cancellationToken)
    {
        using IncrementalHash hash = blob.Digest.StartHash();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            long passed = 0;
            while (passed <= blob.Size && await from.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int length)
            {
                hash.AppendData(buffer, 0, length);
                if (to is not null)
                    await RandomAccess.WriteAsync(to, buffer.AsMemory(0, length), passed, cancellationToken).ConfigureAwait(false);
                progress(passed += length);
            }
            return passed == blob.Size && blob.Digest.IsHash(hash.GetHashAndReset());
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
