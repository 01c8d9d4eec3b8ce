using System.Buffers.Binary;

namespace LazyMount.Serving.Pages;

/// <summary>The members of a zip file, by the directory at its end, or the first ones of a plain tar, as far as few reads tell.</summary>
/// <param name="Members">Names and sizes.</param>
/// <param name="IsWhole">There are no others.</param>
internal sealed record ArchiveListing(IReadOnlyList<(byte[] Name, long Size)> Members, bool IsWhole)
{
    private const int MaxMembers = 500, MaxDirectory = 256 << 10, MaxTar = 2 << 20;

    /// <summary>The members, or null when it is neither, or damaged.</summary>
    /// <param name="head">The beginning of the file.</param>
    /// <param name="size">Its size.</param>
    /// <param name="read">Reads bytes of it.</param>
    public static async Task<ArchiveListing?> ReadAsync(byte[] head, long size, Func<long, int, Task<byte[]>> read)
        => head.AsSpan().StartsWith("PK\x03\x04"u8) ? await ReadZipAsync(size, read)
            : head.Length >= 512 && head.AsSpan(257).StartsWith("ustar"u8) ? ReadTar(await read(0, (int)Math.Min(size, MaxTar)), size)
            : null;

    // APPNOTE 4.3.12 and 4.3.16; without ZIP64.
    private static async Task<ArchiveListing?> ReadZipAsync(long size, Func<long, int, Task<byte[]>> read)
    {
        const int EndSize = 22, HeaderSize = 46, MaxComment = 64 << 10;
        long tailStart = Math.Max(0, size - EndSize - MaxComment);
        byte[] tail = await read(tailStart, (int)(size - tailStart));
        int end = tail.AsSpan().LastIndexOf("PK\x05\x06"u8);
        if (end < 0 || end + EndSize > tail.Length)
        {
            return null;
        }
        int total = BinaryPrimitives.ReadUInt16LittleEndian(tail.AsSpan(end + 10));
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(tail.AsSpan(end + 12)), start = BinaryPrimitives.ReadUInt32LittleEndian(tail.AsSpan(end + 16));
        if (start >= size)
        {
            return null;
        }
        byte[] directory = await read(start, (int)Math.Min(length, MaxDirectory));
        List<(byte[] Name, long Size)> members = [];
        for (int at = 0; at + HeaderSize <= directory.Length && members.Count < MaxMembers && directory.AsSpan(at).StartsWith("PK\x01\x02"u8);)
        {
            int name = BinaryPrimitives.ReadUInt16LittleEndian(directory.AsSpan(at + 28));
            if (at + HeaderSize + name > directory.Length)
            {
                break;
            }
            members.Add((directory.AsSpan(at + HeaderSize, name).ToArray(), BinaryPrimitives.ReadUInt32LittleEndian(directory.AsSpan(at + 24))));
            at += HeaderSize + name + BinaryPrimitives.ReadUInt16LittleEndian(directory.AsSpan(at + 30)) + BinaryPrimitives.ReadUInt16LittleEndian(directory.AsSpan(at + 32));
        }
        return new ArchiveListing(members, members.Count == total);
    }

    private static ArchiveListing? ReadTar(byte[] bytes, long size)
    {
        var scanner = new Indexes.Tar.TarScanner();
        List<(byte[] Name, long Size)> members = [];
        ReadOnlySpan<byte> rest = bytes;
        try
        {
            while (members.Count < MaxMembers && scanner.TryRead(ref rest))
            {
                members.Add((scanner.Member.Path.ToArray(), scanner.Member.Size));
            }
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
            return members.Count == 0 ? null : new ArchiveListing(members, false);
        }
        return new ArchiveListing(members, members.Count < MaxMembers && bytes.Length == size);
    }
}
