using LazyMount.Indexes.Model;
namespace LazyMount.Indexes.Toc;

/// <summary>
/// What stargz-snapshotter's writers add to a layer's root (docs/estargz.md, "Prioritized Files and Landmark Files"): the table
/// itself and a mark. No image means to show them, whichever way its layer is read.
/// </summary>
internal static class TocFiles
{
    /// <summary>What stands before it is to be fetched first.</summary>
    public static ReadOnlySpan<byte> Landmark => ".prefetch.landmark"u8;

    private static ReadOnlySpan<byte> NoLandmark => ".no.prefetch.landmark"u8;

    private static ReadOnlySpan<byte> Table => "stargz.index.json"u8;

    /// <summary>Whether a name in the root is one of theirs.</summary>
    public static bool IsOne(ReadOnlySpan<byte> name) => name.SequenceEqual(Table) || IsMark(name);

    /// <summary>
    /// The entries of a whole tar without them. That they are theirs the tar itself tells, for its index serves all images that
    /// have the layer: a table is the last entry, a mark one byte, where nobody else would put files of these names.
    /// </summary>
    public static LayerEntry[] Hide(LayerPaths paths, LayerEntry[] entries)
    {
        int table = entries.Length > 0 && IsInRoot(paths, entries[^1]) && paths.Name(entries[^1].Path).SequenceEqual(Table) ? entries[^1].Path : -1;
        return Array.FindAll(entries, entry => !IsInRoot(paths, entry) || !(entry.Path == table || (entry.Size == 1 && IsMark(paths.Name(entry.Path)))));
    }

    private static bool IsMark(ReadOnlySpan<byte> name) => name.SequenceEqual(Landmark) || name.SequenceEqual(NoLandmark);

    private static bool IsInRoot(LayerPaths paths, LayerEntry entry) => entry.Type == EntryType.File && entry.SparseMap == 0 && paths.Parent(entry.Path) == 0;
}
