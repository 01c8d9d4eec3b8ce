using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Format;

/// <summary>
/// The part of an index file that zstd packs: paths, links, attributes, sparse maps and entries, one field after the other. A
/// field of all entries stands together, as differences to what is most likely, so that most bytes are zero.
/// </summary>
internal readonly record struct LayerIndexColumns(LayerPaths Paths, LayerEntry[] Entries, ReadOnlyMemory<byte>[] LinkTargets, Xattr[][] XattrSets, SparseMap[] SparseMaps)
{
    // The columns of an entry, in the order of the file.
    private const int Path = 0, Type = 1, Mode = 2, Uid = 3, Gid = 4, Size = 5, Mtime = 6, Nanoseconds = 7, Offset = 8, XattrSet = 9;
    private const int FullColumns = 10; // of every entry, so that an entry takes at least as many bytes
    private const int Device = 10, HardLink = 11;
    private const int Columns = 12;

    /// <summary>In the column of types: a file with a sparse map, the next one.</summary>
    private const int SparseFile = (int)EntryType.Fifo + 1;

    public static byte[] Encode(LayerIndex index)
    {
        var writer = new IndexWriter();
        EncodePaths(writer, index.Paths);
        EncodeTexts(writer, index.LinkTargets);
        EncodeXattrSets(writer, index.XattrSets);
        EncodeSparseMaps(writer, index.SparseMaps);
        EncodeEntries(writer, index.Entries, index.SparseMaps);
        return writer.Bytes.ToArray();
    }

    /// <summary>Throws <see cref="InvalidDataException"/> or <see cref="OverflowException"/> for columns that are not sound.</summary>
    /// <param name="columns">The bytes.</param>
    /// <param name="uncompressedSize">Where the last span ends.</param>
    /// <param name="budget">Counts what is decoded, before it is allocated: columns of equal bytes pack very small.</param>
    public static LayerIndexColumns Decode(ReadOnlySpan<byte> columns, long uncompressedSize, IndexBudget budget)
    {
        var reader = new IndexReader(columns);
        LayerPaths paths = DecodePaths(ref reader, budget);
        ReadOnlyMemory<byte>[] linkTargets = DecodeLinkTargets(ref reader, budget);
        var xattrSets = new XattrSetsBuilder(budget);
        int[] xattrSetNumbers = DecodeXattrSets(ref reader, xattrSets, budget);
        SparseMap[] sparseMaps = DecodeSparseMaps(ref reader, budget);
        LayerEntry[] entries = DecodeEntries(ref reader, uncompressedSize, paths.Count, linkTargets.Length, xattrSetNumbers, sparseMaps, budget);
        LayerIndexFile.Require(reader.Remaining == 0);
        budget.Give((long)xattrSetNumbers.Length * sizeof(int));
        return new LayerIndexColumns(paths, entries, linkTargets, xattrSets.Build(), sparseMaps);
    }

    private static void EncodePaths(IndexWriter writer, LayerPaths paths)
    {
        writer.Unsigned((uint)paths.Count);
        for (int i = 1; i < paths.Count; i++)
        {
            writer.Signed((i == 1 ? 0 : paths.Parent(i - 1)) - paths.Parent(i));
        }
        for (int i = 1; i < paths.Count; i++)
        {
            writer.Unsigned((uint)paths.Name(i).Length);
        }
        for (int i = 1; i < paths.Count; i++)
        {
            writer.Raw(paths.Name(i));
        }
    }

    private static LayerPaths DecodePaths(ref IndexReader reader, IndexBudget budget)
    {
        IndexLimits limits = budget.Limits;
        int count = (int)reader.Bounded(reader.Remaining / 2 + 1); // the root takes no bytes
        LayerIndexFile.Require(count > 0);
        budget.Take(count, IndexBudget.Path);
        var parents = new int[count];
        var nameEnds = new int[count];
        var depths = new ushort[count];
        parents[0] = -1;
        long parent = 0;
        for (int i = 1; i < count; i++)
        {
            parent = checked(parent - reader.Signed());
            LayerIndexFile.Require(parent >= 0 && parent < i && depths[parent] < limits.PathDepth);
            parents[i] = (int)parent;
            depths[i] = (ushort)(depths[parent] + 1);
        }
        for (int i = 1; i < count; i++)
        {
            nameEnds[i] = checked(nameEnds[i - 1] + (int)reader.Bounded(limits.PathLength));
        }
        budget.Take(nameEnds[^1]);
        byte[] names = reader.Raw(nameEnds[^1]).ToArray();
        LayerIndexFile.Require(!names.AsSpan().ContainsAny((byte)0, (byte)'/'));
        var paths = new LayerPaths(parents, nameEnds, names);
        for (int i = 1; i < count; i++)
        {
            LayerIndexFile.Require(paths.Name(i) is not ([] or [(byte)'.'] or [(byte)'.', (byte)'.']) && !LayerPaths.IsTooLong(paths.Name(i), limits.NameLength));
        }
        return paths;
    }

    private static void EncodeTexts(IndexWriter writer, ReadOnlyMemory<byte>[] texts)
    {
        writer.Unsigned((uint)texts.Length);
        foreach (ReadOnlyMemory<byte> text in texts)
        {
            writer.Unsigned((uint)text.Length);
        }
        foreach (ReadOnlyMemory<byte> text in texts)
        {
            writer.Raw(text.Span);
        }
    }

    private static ReadOnlyMemory<byte>[] DecodeLinkTargets(ref IndexReader reader, IndexBudget budget)
    {
        int count = reader.Count(2);
        budget.Take(count, IndexBudget.LinkTarget);
        var ends = new int[count];
        for (int i = 0, end = 0; i < ends.Length; i++)
        {
            int length = (int)reader.Bounded(budget.Limits.LinkTargetLength);
            LayerIndexFile.Require(length > 0);
            ends[i] = end = checked(end + length);
        }
        ReadOnlySpan<byte> texts = reader.Raw(ends.Length == 0 ? 0 : ends[^1]);
        LayerIndexFile.Require(!texts.Contains((byte)0));
        budget.Take(texts.Length);
        return LayerEntriesBuilder.Slice(texts.ToArray(), ends);
    }

    private static void EncodeXattrSets(IndexWriter writer, Xattr[][] sets)
    {
        writer.Unsigned((uint)sets.Length);
        foreach (Xattr[] set in sets)
        {
            writer.Unsigned((uint)set.Length);
            foreach (Xattr xattr in set)
            {
                writer.Unsigned((uint)xattr.Name.Length);
                writer.Raw(xattr.Name.Span);
                writer.Unsigned((uint)xattr.Value.Length);
                writer.Raw(xattr.Value.Span);
            }
        }
    }

    // Returns the number that each stored set has in the builder, -1 for one of which nothing is left.
    private static int[] DecodeXattrSets(ref IndexReader reader, XattrSetsBuilder builder, IndexBudget budget)
    {
        int count = reader.Count(3); // a set has an attribute, and that a name
        budget.Take(count, sizeof(int));
        var numbers = new int[count];
        for (int i = 0; i < count; i++)
        {
            builder.Begin();
            int attributes = reader.Count(2);
            LayerIndexFile.Require(attributes > 0);
            ReadOnlySpan<byte> last = default;
            for (int j = 0; j < attributes; j++)
            {
                ReadOnlySpan<byte> name = reader.Raw(reader.Count(1));
                LayerIndexFile.Require(name.SequenceCompareTo(last) > 0); // sorted, none twice
                last = name;
                builder.Add(name, reader.Raw(reader.Count(1)));
            }
            numbers[i] = builder.End();
        }
        return numbers;
    }

    // Of each map the hole before and the length of every extent, so that it cannot but be in order.
    private static void EncodeSparseMaps(IndexWriter writer, SparseMap[] maps)
    {
        writer.Unsigned((uint)maps.Length);
        foreach (SparseMap map in maps)
        {
            writer.Unsigned((uint)map.Count);
            for (int i = 0; i < map.Count; i++)
            {
                writer.Unsigned((ulong)(map[i].Offset - (i == 0 ? 0 : map.End(i - 1))));
                writer.Unsigned((ulong)(map.End(i) - map[i].Offset));
            }
        }
    }

    private static SparseMap[] DecodeSparseMaps(ref IndexReader reader, IndexBudget budget)
    {
        int count = reader.Count(1);
        budget.Take(count, IndexBudget.SparseMap);
        var maps = new SparseMap[count];
        for (int i = 0; i < maps.Length; i++)
        {
            int extentCount = (int)reader.Bounded(Math.Min(reader.Remaining / 2, budget.Limits.SparseExtentsOfFile));
            budget.Take(extentCount, IndexBudget.SparseExtent);
            var extents = new SparseExtent[extentCount];
            long end = 0, stored = 0;
            for (int j = 0; j < extents.Length; j++)
            {
                long hole = reader.Bounded(long.MaxValue), length = reader.Bounded(long.MaxValue);
                LayerIndexFile.Require(length > 0 && (hole > 0 || j == 0));
                extents[j] = new SparseExtent(checked(end + hole), stored);
                end = checked(end + hole + length);
                stored = checked(stored + length);
            }
            maps[i] = new SparseMap(extents, stored);
        }
        return maps;
    }

    /// <summary>A member's content usually begins one header after the content of the one before it.</summary>
    private static long LikelyDataOffset(in LayerEntry previous, SparseMap[] sparseMaps)
        => previous.DataOffset + (((previous.SparseMap == 0 ? previous.Size : sparseMaps[previous.SparseMap - 1].StoredSize) + TarHeader.BlockSize - 1) & -TarHeader.BlockSize) + TarHeader.BlockSize;

    private static void EncodeEntries(IndexWriter writer, LayerEntry[] entries, SparseMap[] sparseMaps)
    {
        var columns = new IndexWriter[Columns];
        for (int i = 0; i < Columns; i++)
        {
            columns[i] = new IndexWriter();
        }
        LayerEntry last = default;
        foreach (ref readonly LayerEntry entry in entries.AsSpan())
        {
            columns[Path].Signed((long)entry.Path - last.Path);
            columns[Type].Unsigned(entry.SparseMap == 0 ? (ulong)entry.Type : SparseFile);
            columns[Mode].Unsigned(entry.Mode);
            columns[Uid].Unsigned(entry.Uid);
            columns[Gid].Unsigned(entry.Gid);
            columns[Size].Unsigned((ulong)entry.Size);
            columns[Mtime].Signed(unchecked(entry.MtimeSeconds - last.MtimeSeconds));
            columns[Nanoseconds].Unsigned(entry.MtimeNanoseconds);
            columns[Offset].Signed(unchecked(entry.DataOffset - LikelyDataOffset(last, sparseMaps)));
            columns[XattrSet].Unsigned((ulong)(entry.XattrSet + 1L));
            if (IsDevice(entry.Type))
            {
                columns[Device].Unsigned(entry.DeviceMajor);
                columns[Device].Unsigned(entry.DeviceMinor);
            }
            if (entry.Type == EntryType.HardLink)
            {
                columns[HardLink].Unsigned((uint)entry.LinkPath);
            }
            last = entry;
        }
        writer.Unsigned((uint)entries.Length);
        foreach (IndexWriter column in columns)
        {
            writer.Unsigned((uint)column.Bytes.Length);
        }
        foreach (IndexWriter column in columns)
        {
            writer.Raw(column.Bytes);
        }
    }

    private static LayerEntry[] DecodeEntries(ref IndexReader reader, long uncompressedSize, int paths, int linkTargets, int[] xattrSets, SparseMap[] sparseMaps, IndexBudget budget)
    {
        int count = reader.Count(FullColumns);
        LayerIndexFile.Require(count <= budget.Limits.Entries);
        budget.Take(count, IndexBudget.Entry);
        Span<int> lengths = stackalloc int[Columns];
        foreach (ref int length in lengths)
        {
            length = reader.Count(1);
        }
        var path = new IndexReader(reader.Raw(lengths[Path]));
        var type = new IndexReader(reader.Raw(lengths[Type]));
        var mode = new IndexReader(reader.Raw(lengths[Mode]));
        var uid = new IndexReader(reader.Raw(lengths[Uid]));
        var gid = new IndexReader(reader.Raw(lengths[Gid]));
        var size = new IndexReader(reader.Raw(lengths[Size]));
        var mtime = new IndexReader(reader.Raw(lengths[Mtime]));
        var nanoseconds = new IndexReader(reader.Raw(lengths[Nanoseconds]));
        var offset = new IndexReader(reader.Raw(lengths[Offset]));
        var xattrSet = new IndexReader(reader.Raw(lengths[XattrSet]));
        var device = new IndexReader(reader.Raw(lengths[Device]));
        var hardLink = new IndexReader(reader.Raw(lengths[HardLink]));

        var entries = new LayerEntry[count];
        LayerEntry last = default;
        int symlinks = 0, sparse = 0;
        for (int i = 0; i < count; i++)
        {
            long storedType = type.Bounded(SparseFile);
            SparseMap? sparseMap = storedType != SparseFile ? null : sparse < sparseMaps.Length ? sparseMaps[sparse++] : throw new InvalidDataException("a sparse map is missing");
            EntryType entryType = sparseMap is null ? (EntryType)storedType : EntryType.File;
            long entryPath = checked(last.Path + path.Signed());
            long entrySize = size.Bounded(sparseMap is null ? uncompressedSize : long.MaxValue);
            long dataOffset = unchecked(LikelyDataOffset(last, sparseMaps) + offset.Signed());
            LayerIndexFile.Require(entryPath >= 0 && entryPath < paths
                && (sparseMap is null || sparseMap.Count == 0 || sparseMap.End(sparseMap.Count - 1) <= entrySize)
                && dataOffset >= 0 && dataOffset <= uncompressedSize - (sparseMap?.StoredSize ?? entrySize));
            LayerIndexFile.Require(entryPath > 0 || entryType == EntryType.Directory); // as in a tar: nothing replaces the root
            bool isDevice = IsDevice(entryType);
            last = new LayerEntry
            {
                Path = (int)entryPath,
                Type = entryType,
                Mode = (ushort)mode.Bounded(0xFFF),
                Uid = (uint)uid.Bounded(uint.MaxValue),
                Gid = (uint)gid.Bounded(uint.MaxValue),
                Size = entrySize,
                MtimeSeconds = unchecked(last.MtimeSeconds + mtime.Signed()),
                MtimeNanoseconds = (uint)nanoseconds.Bounded(999_999_999),
                DataOffset = dataOffset,
                SparseMap = sparseMap is null ? 0 : sparse,
                DeviceMajor = isDevice ? (uint)device.Bounded(uint.MaxValue) : 0,
                DeviceMinor = isDevice ? (uint)device.Bounded(uint.MaxValue) : 0,
                LinkPath = entryType == EntryType.HardLink ? (int)hardLink.Bounded(paths - 1) : -1,
                LinkTarget = entryType == EntryType.Symlink ? symlinks++ : -1,
                XattrSet = xattrSet.Bounded(xattrSets.Length) is > 0 and var set ? xattrSets[set - 1] : -1,
            };
            entries[i] = last;
        }
        LayerIndexFile.Require(symlinks == linkTargets && sparse == sparseMaps.Length
            && path.Remaining + type.Remaining + mode.Remaining + uid.Remaining + gid.Remaining + size.Remaining + mtime.Remaining
                + nanoseconds.Remaining + offset.Remaining + xattrSet.Remaining + device.Remaining + hardLink.Remaining == 0);
        return entries;
    }

    private static bool IsDevice(EntryType type) => type is EntryType.CharacterDevice or EntryType.BlockDevice;
}
