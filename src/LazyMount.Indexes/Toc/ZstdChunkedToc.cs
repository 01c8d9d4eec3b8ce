using System.Buffers.Binary;
using System.Globalization;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// The table of contents of a zstd:chunked layer (containers/storage pkg/chunked), which its writers call the manifest: JSON in
/// a zstd frame in a skippable frame near the blob's end, found by annotations of the layer or by a footer.
/// </summary>
internal static class ZstdChunkedToc
{
    /// <summary>The longer of the two footers.</summary>
    public const int FooterSize = FrameHeader + 8 * sizeof(ulong);

    private const int FrameHeader = 8;
    private const long CrfsType = 1;
    private const int MaxCompressed = 64 << 20;

    // A frame that unpacks to more is not looked at.
    private const int MaxRatio = 4096;

    // Of today's tools, and of those before 2022.
    private static readonly string[] s_prefixes = ["io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."];

    // As today's containers/storage writes it, and as it did before 2023 and stargz-snapshotter does.
    private static ReadOnlySpan<byte> Magic => "GNUlInUx"u8;

    private static ReadOnlySpan<byte> OldMagic => "GnUlInUx"u8;

    /// <summary>Where a table lies.</summary>
    /// <param name="Offset">Of its frame in the blob, behind the header of the skippable one around it.</param>
    /// <param name="Length">Bytes of that frame.</param>
    /// <param name="JsonLength">What it unpacks to.</param>
    /// <param name="Type">1 is the one that is known.</param>
    /// <param name="Checksum">Digest of the frame, when the manifest says it.</param>
    public readonly record struct Place(long Offset, long Length, long JsonLength, long Type, Digest? Checksum);

    /// <summary>As a layer's annotations say it; null when they do not.</summary>
    public static Place? FindAnnotated(Descriptor blob)
    {
        foreach (string prefix in s_prefixes)
        {
            if (blob.Annotations is { } annotations
                && annotations.TryGetValue(prefix + "manifest-position", out string? position)
                && annotations.TryGetValue(prefix + "manifest-checksum", out string? text)
                && Digest.TryParse(text, out Digest checksum)
                && position.Split(':', 5) is [var offset, var length, var jsonLength, var type]
                && TryParse(offset, out long a) && TryParse(length, out long b) && TryParse(jsonLength, out long c) && TryParse(type, out long d))
            {
                return new Place(a, b, c, d, checksum);
            }
        }
        return null;

        static bool TryParse(string text, out long value) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>As the footer at the end of <paramref name="tail"/> says it; null when there is none.</summary>
    public static Place? ParseFooter(ReadOnlySpan<byte> tail)
    {
        foreach (int numbers in (ReadOnlySpan<int>)[7, 4]) // with those of the tar-split, and before there was one
        {
            int payload = numbers * sizeof(ulong) + Magic.Length;
            if (tail.Length < FrameHeader + payload)
            {
                continue;
            }
            ReadOnlySpan<byte> footer = tail[^(FrameHeader + payload)..];
            if ((footer.EndsWith(Magic) || footer.EndsWith(OldMagic)) && BinaryPrimitives.ReadUInt32LittleEndian(footer) == ZstdSkippable && BinaryPrimitives.ReadUInt32LittleEndian(footer[4..]) == payload)
            {
                return new Place(Number(footer, 0), Number(footer, 1), Number(footer, 2), Number(footer, 3), null);
            }
        }
        return null;

        static long Number(ReadOnlySpan<byte> footer, int i) => BinaryPrimitives.ReadInt64LittleEndian(footer[(FrameHeader + i * sizeof(ulong))..]);
    }

    private const uint ZstdSkippable = 0x184D2A50;

    /// <summary>Makes the index.</summary>
    /// <exception cref="InvalidDataException">The table is not sound.</exception>
    public static async Task<LayerIndex> ReadAsync(BlobRanges ranges, Place place, IndexBudget budget, CancellationToken cancellationToken)
    {
        Descriptor blob = ranges.Blob;
        if (place.Type != CrfsType)
        {
            throw new InvalidDataException($"its type is {place.Type}, and only {CrfsType} is supported");
        }
        if (place.Offset <= FrameHeader || place.Length <= 0 || place.Length > MaxCompressed || place.Offset > blob.Size - place.Length
            || place.JsonLength <= 0 || place.JsonLength > EstargzToc.MaxJson || place.JsonLength / MaxRatio > place.Length)
        {
            throw new InvalidDataException($"its position is impossible: {place.Length} bytes at {place.Offset}, decoded {place.JsonLength}");
        }
        budget.Take(place.Length + place.JsonLength);
        byte[] frame = await ranges.ReadAsync(place.Offset, (int)place.Length, cancellationToken).ConfigureAwait(false);
        if (place.Checksum is { } checksum && !checksum.Verifies(frame))
        {
            throw new InvalidDataException($"its digest is {Digest.OfSha256(frame)}, but the manifest says {checksum}");
        }
        using var builder = new TocIndexBuilder(budget, place.Offset - FrameHeader);
        TocJson.Read(Unpack(frame, (int)place.JsonLength), builder);
        budget.Give(place.Length + place.JsonLength);
        LayerIndex index = builder.Build(blob, CompressionFormat.Zstd, IndexOrigin.ZstdChunked);
        // The manifest's word is as good as the footer's, which a source might change.
        return place.Checksum is { } document
            ? TocFiles.Hide(index, isEstargz: false) with { Proof = index.Proof.ByManifest(document) }
            : await TocFiles.HideAsync(index, ranges, cancellationToken).ConfigureAwait(false);
    }

    private static byte[] Unpack(byte[] frame, int length)
    {
        using Decompressor zstd = Decompressor.Start(CompressionFormat.Zstd);
        var json = new byte[length];
        int filled = 0;
        zstd.Push(frame);
        while (zstd.TryRead(out ReadOnlySpan<byte> run))
        {
            if (run.Length > json.Length - filled)
            {
                throw new InvalidDataException($"it decodes to more than {length} bytes");
            }
            run.CopyTo(json.AsSpan(filled));
            filled += run.Length;
        }
        zstd.Complete();
        return filled == length ? json : throw new InvalidDataException($"it decodes to {filled} bytes instead of {length}");
    }
}
