using System.Buffers.Binary;
using System.Globalization;
using LazyMount.Blobs.Oci;
using LazyMount.Compression;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// The table of contents of an eStargz layer (stargz-snapshotter docs/estargz.md) or of its forerunner stargz: a tar of one file
/// in a gzip member of its own near the blob's end, found by a footer.
/// </summary>
internal static class EstargzToc
{
    /// <summary>The manifest's word for the SHA-256 of the table's JSON.</summary>
    public const string DigestAnnotation = "containerd.io/snapshot/stargz/toc.digest";

    /// <summary>The longer of the two footers.</summary>
    public const int FooterSize = 51;

    /// <summary>
    /// JSON has some 350 bytes an entry. What is larger is read as the tar that it is: a table stands in memory whole, and
    /// the reference implementations of both formats have bounds of this size.
    /// </summary>
    public const int MaxJson = 256 << 20;

    private const string FileName = "stargz.index.json";

    // DEFLATE cannot do better than 1032 to 1.
    private const int MaxRatio = 1100;

    private const int HexDigits = 16;

    private static ReadOnlySpan<byte> Magic => "STARGZ"u8;

    // An empty gzip member with an extra field: header; then an empty stored block, CRC-32 and size.
    private static ReadOnlySpan<byte> Header => [0x1f, 0x8b, 8, 4];

    private static ReadOnlySpan<byte> Empty => [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];

    private const int HeaderSize = 10;

    /// <summary>
    /// Where in the blob the table begins, as the footer at the end of <paramref name="tail"/> has it; null when there is none.
    /// A footer that says that the table is kept elsewhere is as good as none.
    /// </summary>
    public static long? ParseFooter(ReadOnlySpan<byte> tail)
    {
        foreach (int subfield in (ReadOnlySpan<int>)[4, 0]) // the subfield's header, which the forerunner left out
        {
            int extra = subfield + HexDigits + Magic.Length;
            int size = HeaderSize + sizeof(ushort) + extra + Empty.Length;
            if (tail.Length < size)
            {
                continue;
            }
            ReadOnlySpan<byte> footer = tail[^size..];
            ReadOnlySpan<byte> field = footer.Slice(HeaderSize + sizeof(ushort), extra);
            if (footer.StartsWith(Header) && footer.EndsWith(Empty) && field.EndsWith(Magic)
                && BinaryPrimitives.ReadUInt16LittleEndian(footer[HeaderSize..]) == extra
                && (subfield == 0 || (field.StartsWith("SG"u8) && BinaryPrimitives.ReadUInt16LittleEndian(field[2..]) == extra - subfield))
                && long.TryParse(field.Slice(subfield, HexDigits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out long offset))
            {
                return offset;
            }
        }
        return null;
    }

    /// <summary>Whether a blob is of this format, its table in the blob or kept elsewhere.</summary>
    public static bool HasFooter(ReadOnlySpan<byte> tail)
    {
        if (ParseFooter(tail) is not null)
        {
            return true;
        }
        ReadOnlySpan<byte> external = [.. Header, 0, 0, 0, 0, 0, 0xff, (byte)(4 + "STARGZEXTERNALTOC"u8.Length), 0, (byte)'S', (byte)'G', (byte)"STARGZEXTERNALTOC"u8.Length, 0, .. "STARGZEXTERNALTOC"u8, .. Empty];
        return tail.EndsWith(external);
    }

    /// <summary>Makes the index, given where the table begins.</summary>
    /// <exception cref="InvalidDataException">The table is not sound.</exception>
    public static async Task<LayerIndex> ReadAsync(BlobRanges ranges, long offset, IndexBudget budget, CancellationToken cancellationToken)
    {
        Descriptor blob = ranges.Blob;
        if (offset <= 0 || offset >= blob.Size || blob.Size - offset > MaxJson)
        {
            throw new InvalidDataException($"its footer gives the impossible offset {offset} for the table");
        }
        budget.Take(blob.Size - offset);
        byte[] member = await ranges.ReadAsync(offset, (int)(blob.Size - offset), cancellationToken).ConfigureAwait(false);
        byte[] json = Unpack(member, budget);
        Digest? announced = null;
        if (blob.Annotations?.TryGetValue(DigestAnnotation, out string? annotation) == true && annotation.Length > 0)
        {
            announced = Digest.TryParse(annotation, out Digest digest) && digest.Verifies(json)
                ? digest
                : throw new InvalidDataException($"its digest is {Digest.OfSha256(json)}, but the manifest has another one");
        }
        using var builder = new TocIndexBuilder(budget, offset);
        TocJson.Read(json, builder);
        budget.Give(member.Length + json.Length);
        LayerIndex index = await TocFiles.HideAsync(builder.Build(blob, CompressionFormat.Gzip, IndexOrigin.Estargz), ranges, cancellationToken).ConfigureAwait(false);
        return announced is { } document ? index with { Proof = index.Proof.ByManifest(document) } : index;
    }

    private static byte[] Unpack(byte[] member, IndexBudget budget)
    {
        using Decompressor gzip = Decompressor.Start(CompressionFormat.Gzip);
        var scanner = new TarScanner();
        byte[]? json = null;
        int filled = 0;
        gzip.Push(member);
        while (gzip.TryRead(out ReadOnlySpan<byte> run))
        {
            while (!run.IsEmpty)
            {
                if (json is null)
                {
                    if (!scanner.TryRead(ref run))
                    {
                        break;
                    }
                    if (scanner.Member.Type != EntryType.File || !scanner.Member.Path.SequenceEqual("stargz.index.json"u8) || scanner.Member.SkipReason is not null)
                    {
                        throw new InvalidDataException($"it is {TarText.Quote(scanner.Member.Path)}, not {FileName}");
                    }
                    if (scanner.Member.Size > MaxJson || scanner.Member.Size / MaxRatio > member.Length)
                    {
                        throw new InvalidDataException($"its JSON claims to have {scanner.Member.Size} bytes");
                    }
                    budget.Take(scanner.Member.Size);
                    json = new byte[scanner.Member.Size];
                    continue;
                }
                int length = Math.Min(run.Length, json.Length - filled);
                run[..length].CopyTo(json.AsSpan(filled));
                filled += length;
                if (filled == json.Length)
                {
                    return json;
                }
                run = run[length..];
            }
        }
        throw new InvalidDataException("its JSON is cut off");
    }
}
