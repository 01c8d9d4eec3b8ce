using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Toc;

/// <summary>
/// The files that writers of a table of contents add to a layer's root (stargz-snapshotter docs/estargz.md, "Prioritized Files and
/// Landmark Files"): the table itself and a mark of one byte. They are hidden if the blob ends in such a writer's footer, and shown
/// otherwise. This is the only place that decides it, and the blob's last bytes are all that it asks for besides the entries, so
/// that every way of reading a layer shows the same tree.
/// </summary>
internal static class TocFiles
{
    /// <summary>How many of a blob's last bytes hold any footer.</summary>
    public const int TailSize = 72;

    private static ReadOnlySpan<byte> Table => "stargz.index.json"u8;

    private static ReadOnlySpan<byte> Landmark => ".prefetch.landmark"u8;

    private static ReadOnlySpan<byte> NoLandmark => ".no.prefetch.landmark"u8;

    /// <summary>The index without them. Asks for the blob's last bytes only if the layer has files of these names.</summary>
    public static async ValueTask<LayerIndex> HideAsync(LayerIndex index, BlobRanges ranges, CancellationToken cancellationToken)
        => NeedsTail(index)
            ? Hide(index, (await ranges.ReadTailAsync(TailSize, cancellationToken).ConfigureAwait(false)).Span)
            : index;

    /// <summary>Whether only the blob's last bytes tell which of its files are shown.</summary>
    public static bool NeedsTail(LayerIndex index) => Array.Exists(index.Entries, entry => IsTable(index.Paths, entry) || IsMark(index.Paths, entry));

    /// <summary>The index without them. What stands before a hidden landmark is what should be fetched first.</summary>
    /// <param name="index">Of all that the layer holds.</param>
    /// <param name="tail">The last <see cref="TailSize"/> bytes of the layer's blob, or all of it.</param>
    public static LayerIndex Hide(LayerIndex index, ReadOnlySpan<byte> tail)
    {
        bool isEstargz = index.Format == CompressionFormat.Gzip && EstargzToc.HasFooter(tail);
        return isEstargz || (index.Format == CompressionFormat.Zstd && ZstdChunkedToc.ParseFooter(tail) is not null) ? Hide(index, isEstargz) : index;
    }

    /// <summary>The same for a blob that is known to be of one of the two formats: of eStargz, else of zstd:chunked.</summary>
    public static LayerIndex Hide(LayerIndex index, bool isEstargz)
    {
        LayerPaths paths = index.Paths;
        int landmark = Array.FindIndex(index.Entries, entry => IsMark(paths, entry) && paths.Name(entry.Path).SequenceEqual(Landmark));
        long prefetchEnd = landmark < 0 ? 0 : index.Entries[landmark].DataOffset;
        return index with
        {
            Entries = Array.FindAll(index.Entries, entry => !IsMark(paths, entry) && !(isEstargz && IsTable(paths, entry))),
            Prefetch = prefetchEnd > 0 ? [new PrefetchRange(0, prefetchEnd)] : index.Prefetch,
        };
    }

    private static bool IsTable(LayerPaths paths, in LayerEntry entry) => IsPlainFileInRoot(paths, entry) && paths.Name(entry.Path).SequenceEqual(Table);

    private static bool IsMark(LayerPaths paths, in LayerEntry entry)
        => entry.Size == 1 && IsPlainFileInRoot(paths, entry) && (paths.Name(entry.Path).SequenceEqual(Landmark) || paths.Name(entry.Path).SequenceEqual(NoLandmark));

    private static bool IsPlainFileInRoot(LayerPaths paths, in LayerEntry entry) => entry.Type == EntryType.File && entry.SparseMap == 0 && paths.Parent(entry.Path) == 0;
}
