using System.IO.Hashing;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.TestKit;

/// <summary>
/// A file of 64 chunks of a blob in the cache, as a test damages it: a table of their XXH128, zeros for those that are not there,
/// and from byte 4,096 on the chunks, each at its place.
/// </summary>
public static class CacheSegment
{
    public const int Chunks = 64, HashSize = 16, DataStart = 4096, ChunkSize = 64 << 10;

    /// <summary>The chunks that are there, counted from the segment's first.</summary>
    public static int[] Present(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        return [.. Enumerable.Range(0, Chunks).Where(chunk => Entry(file, chunk).ContainsAnyExcept((byte)0))];
    }

    /// <summary>Bytes of the chunks that are there; 0 for a file that is no segment.</summary>
    public static long PresentBytes(string path, int chunkSize = ChunkSize)
    {
        byte[] file = File.ReadAllBytes(path);
        return Enumerable.Range(0, Chunks).Where(chunk => Entry(file, chunk).ContainsAnyExcept((byte)0)).Sum(chunk => (long)Content(file, chunk, chunkSize).Length);
    }

    /// <summary>Takes chunks out, as if nobody had kept them; who writes others meanwhile is not disturbed.</summary>
    public static void Forget(string path, params ReadOnlySpan<int> chunks)
    {
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
        ReadOnlySpan<byte> nothing = stackalloc byte[HashSize];
        foreach (int chunk in chunks)
        {
            RandomAccess.Write(file, nothing, chunk * HashSize);
        }
    }

    /// <summary>Flips a bit of a chunk, in place: who has the file open sees it.</summary>
    /// <param name="path">The segment.</param>
    /// <param name="chunk">One that is there, counted from the segment's first.</param>
    /// <param name="at">Which byte of it; a negative one counts from its end.</param>
    /// <param name="rehash">Whether the hash is made right again.</param>
    /// <param name="chunkSize">Bytes of a chunk.</param>
    public static void Flip(string path, int chunk, int at, bool rehash, int chunkSize = ChunkSize)
    {
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        long start = DataStart + chunk * (long)chunkSize;
        byte[] content = new byte[LengthOf(path, chunk, chunkSize)];
        RandomAccess.Read(file, content, start);
        content[at < 0 ? content.Length + at : at] ^= 0x10;
        RandomAccess.Write(file, content, start);
        if (rehash)
        {
            RandomAccess.Write(file, XxHash128.Hash(content), chunk * HashSize);
        }
    }

    /// <summary>Bytes of a chunk: the blob's last may be short, and ends with the file.</summary>
    public static int LengthOf(string path, int chunk, int chunkSize = ChunkSize) => (int)Math.Min(chunkSize, new FileInfo(path).Length - DataStart - chunk * (long)chunkSize);

    private static Span<byte> Entry(byte[] file, int chunk)
        => file.AsSpan(Math.Min(chunk * HashSize, file.Length), Math.Min(HashSize, Math.Max(0, file.Length - chunk * HashSize)));

    // None of what was written after the file was read.
    private static Span<byte> Content(byte[] file, int chunk, int chunkSize)
    {
        int start = Math.Min(DataStart + chunk * chunkSize, file.Length);
        return file.AsSpan(start, Math.Min(chunkSize, file.Length - start));
    }
}
