using System.Buffers.Binary;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Toc;
using LazyMount.TestKit;

namespace LazyMount.Fuzz.Targets;

/// <summary>
/// Layers in the zstd seekable format, from whose table the headers are visited. The input is the number of frames, for each the
/// length of the bytes that the target compresses, and those bytes; then changes to the seek table. Its frame and footer are set right.
/// </summary>
internal static class SeekableTarget
{
    private const int EntrySize = 8, MaxFrames = 40;

    public static void Run(byte[] input)
    {
        var reader = new InputReader(input);
        int frames = Math.Min(reader.Byte(), (byte)MaxFrames), changes = reader.Byte() % 4;
        byte descriptor = reader.Byte();
        var edits = new List<(ushort At, byte Value)>();
        for (int i = 0; i < changes; i++)
        {
            edits.Add((reader.UInt16(), reader.Byte()));
        }
        using var compressor = new ZstdSharp.Compressor(1);
        var blob = new List<byte>();
        var table = new byte[frames * EntrySize];
        for (int i = 0; i < frames; i++)
        {
            ReadOnlySpan<byte> bytes = i == frames - 1 ? reader.Rest : reader.Block();
            byte[] frame = compressor.Wrap(bytes).ToArray();
            blob.AddRange(frame);
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(i * EntrySize), frame.Length);
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(i * EntrySize + 4), bytes.Length);
        }
        foreach ((ushort at, byte value) in edits)
        {
            if (table.Length > 0)
            {
                table[at % table.Length] = value;
            }
        }
        var number = new byte[4];
        Append(0x184D2A5E);
        Append((uint)table.Length + SeekableZstdHops.FooterSize);
        blob.AddRange(table);
        Append((uint)frames);
        blob.Add(descriptor);
        Append(0x8F92EAB1);
        Check([.. blob]);

        void Append(uint value)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(number, value);
            blob.AddRange(number);
        }
    }

    private static void Check(byte[] blob)
    {
        try
        {
            var ranges = new BlobRanges(new MemorySource(blob), new Descriptor("", TreeWalk.Digest, blob.Length));
            ReadOnlyMemory<byte> tail = ranges.ReadTailAsync(512, CancellationToken.None).AsTask().GetAwaiter().GetResult();
            SeekableZstdHops? hops = SeekableZstdHops.TryOpenAsync(ranges, tail, new IndexBudget(IndexLimits.Default), CancellationToken.None).GetAwaiter().GetResult();
            if (hops?.ReadAsync(CancellationToken.None).GetAwaiter().GetResult() is not { } index)
            {
                return;
            }
            LayerIndex? stored = LayerIndexFile.TryDecode(LayerIndexFile.Encode(index), index.Digest);
            FuzzException.Require(stored is not null, "an index of a seekable layer cannot be stored");
            TreeWalk.CheckLayer(stored!);
            TreeWalk.Merge([stored!]);
        }
        catch (Exception e) when (e is InvalidDataException or NotSupportedException)
        {
        }
    }

    public static IEnumerable<byte[]> Seeds()
    {
        byte[] tar = new TarBytes().Directory("d").File("d/file", new string('x', 2000)).Symlink("s", "d").Pax(("SCHILY.xattr.user.a", "v")).File("g", "y").ToArray();
        yield return [1, 0, 0, .. tar];
        yield return [3, 0, 0, 0, 4, .. tar.AsSpan(0, 1024), 0, 2, .. tar.AsSpan(1024, 512), .. tar.AsSpan(1536)];
        yield return [2, 1, 0, 4, 0, 1, 0, 4, .. tar.AsSpan(0, 1024), .. tar.AsSpan(1024)];
    }
}
