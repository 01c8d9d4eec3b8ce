using System.IO.Hashing;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>Collects what a scanned tar holds in the form of a <see cref="LayerIndex"/>.</summary>
internal sealed class LayerEntriesBuilder(TarLimits limits)
{
    // What Linux holds: XATTR_NAME_MAX and XATTR_SIZE_MAX.
    internal const int MaxXattrName = 255;
    internal const int MaxXattrValue = 64 << 10;

    // What an attribute takes besides its name and value: two arrays and what points to them.
    private const int XattrOverhead = 96;

    private readonly LayerPathsBuilder _paths = new(limits);
    private readonly ByteBuffer _linkTargets = new();
    private readonly List<int> _linkTargetEnds = [];
    private readonly List<SparseMap> _sparseMaps = [];
    private readonly List<Xattr[]> _xattrSets = [];
    private readonly Dictionary<ulong, int> _xattrSetsByHash = [];
    private LayerEntry[] _entries = new LayerEntry[1024];
    private int _count;
    private long _xattrBytes, _xattrMemory;
    private int _sparseExtents;

    /// <summary>
    /// Adds one member. What no file system can show is left out and told: null, or why. What breaks a bound throws
    /// <see cref="InvalidDataException"/>.
    /// </summary>
    public string? Add(TarMember member)
    {
        if (member.SkipReason is not null)
        {
            return member.SkipReason;
        }
        if (member.Path.Contains((byte)0) || member.Link.Contains((byte)0))
        {
            throw new InvalidDataException($"the path or link of {TarText.Quote(member.Path)} holds a zero byte");
        }
        int path = _paths.Add(member.Path);
        if (path == 0 && member.Type != EntryType.Directory)
        {
            return member.Path.IsEmpty ? "it has no name" : "it would replace the root directory";
        }
        int linkPath = member.Type == EntryType.HardLink ? _paths.Add(member.Link) : -1;
        int linkTarget = member.Type == EntryType.Symlink ? AddLinkTarget(member) : -1;
        int sparseMap = member.SparseMap is null ? 0 : AddSparseMap(member.SparseMap);
        int xattrSet = AddXattrs(member, out string? skipped);
        if (_count == _entries.Length)
        {
            Array.Resize(ref _entries, _count * 2);
        }
        _entries[_count++] = new LayerEntry
        {
            Path = path,
            Type = member.Type,
            Mode = member.Mode,
            Uid = member.Uid,
            Gid = member.Gid,
            Size = member.Size,
            MtimeSeconds = member.MtimeSeconds,
            MtimeNanoseconds = member.MtimeNanoseconds,
            DataOffset = member.DataOffset,
            SparseMap = sparseMap,
            DeviceMajor = member.DeviceMajor,
            DeviceMinor = member.DeviceMinor,
            LinkPath = linkPath,
            LinkTarget = linkTarget,
            XattrSet = xattrSet,
        };
        return skipped;
    }

    private int AddLinkTarget(TarMember member)
    {
        if (member.Link.Length > limits.LinkTargetLength)
        {
            throw new InvalidDataException($"the target of the symbolic link {TarText.Quote(member.Path)} has {member.Link.Length} bytes, more than the {limits.LinkTargetLength} that Linux allows");
        }
        if (member.Link.IsEmpty)
        {
            throw new InvalidDataException($"the symbolic link {TarText.Quote(member.Path)} has no target");
        }
        if (_linkTargets.Length > limits.LinkTargetBytes - member.Link.Length)
        {
            throw new InvalidDataException($"the targets of its symbolic links have more than {limits.LinkTargetBytes} bytes together");
        }
        _linkTargets.Append(member.Link);
        _linkTargetEnds.Add(_linkTargets.Length);
        return _linkTargetEnds.Count - 1;
    }

    private int AddSparseMap(SparseMap map)
    {
        _sparseExtents += 1 + map.Count;
        if (_sparseExtents > limits.SparseExtents)
        {
            throw new InvalidDataException($"its sparse files have more than {limits.SparseExtents} extents together");
        }
        _sparseMaps.Add(map);
        return _sparseMaps.Count;
    }

    private int AddXattrs(TarMember member, out string? skipped)
    {
        skipped = null;
        if (member.XattrCount == 0)
        {
            return -1;
        }
        var set = new List<Xattr>(member.XattrCount);
        long memory = 0;
        for (int i = 0; i < member.XattrCount; i++)
        {
            if (member.XattrName(i).Length > MaxXattrName || member.XattrValue(i).Length > MaxXattrValue || member.XattrName(i).Contains((byte)0))
            {
                skipped = $"its attribute {TarText.Quote(member.XattrName(i))} is larger than Linux allows (the file is there without it)";
                continue;
            }
            if (member.XattrName(i).StartsWith("trusted.overlay."u8))
            {
                skipped = $"its attribute {TarText.Quote(member.XattrName(i))} is overlayfs's own, which no container sees (the file is there without it)";
                continue;
            }
            set.Add(new Xattr(member.XattrName(i).ToArray(), member.XattrValue(i).ToArray()));
            memory += member.XattrName(i).Length + member.XattrValue(i).Length + XattrOverhead;
        }
        _xattrBytes += memory;
        if (_xattrBytes > limits.XattrBytes)
        {
            throw new InvalidDataException($"the extended attributes of its entries take more than {limits.XattrBytes} bytes together");
        }
        if (set.Count == 0)
        {
            return -1;
        }
        set.Sort(static (a, b) => a.Name.Span.SequenceCompareTo(b.Name.Span));

        var hash = new XxHash3();
        foreach (Xattr xattr in set)
        {
            hash.Append(xattr.Name.Span);
            hash.Append([0]);
            hash.Append(xattr.Value.Span);
        }
        ulong key = hash.GetCurrentHashAsUInt64();
        if (_xattrSetsByHash.TryGetValue(key, out int known) && AreEqual(_xattrSets[known], set))
        {
            return known;
        }
        _xattrMemory += memory;
        if (_xattrMemory > limits.XattrMemory)
        {
            throw new InvalidDataException($"its extended attributes take more than {limits.XattrMemory} bytes together, equal ones counted once");
        }
        _xattrSets.Add([.. set]);
        return _xattrSetsByHash[key] = _xattrSets.Count - 1;
    }

    private static bool AreEqual(Xattr[] a, List<Xattr> b)
    {
        for (int i = 0; i < a.Length; i++)
        {
            if (a.Length != b.Count || !a[i].Name.Span.SequenceEqual(b[i].Name.Span) || !a[i].Value.Span.SequenceEqual(b[i].Value.Span))
            {
                return false;
            }
        }
        return true;
    }

    public LayerPaths BuildPaths() => _paths.Build();

    public LayerEntry[] BuildEntries() => _entries[.._count];

    public SparseMap[] BuildSparseMaps() => [.. _sparseMaps];

    public Xattr[][] BuildXattrSets() => [.. _xattrSets];

    public ReadOnlyMemory<byte>[] BuildLinkTargets() => Slice(_linkTargets.ToArray(), _linkTargetEnds);

    /// <summary>Cuts one array into consecutive pieces.</summary>
    internal static ReadOnlyMemory<byte>[] Slice(byte[] bytes, IReadOnlyList<int> ends)
    {
        var pieces = new ReadOnlyMemory<byte>[ends.Count];
        int start = 0;
        for (int i = 0; i < pieces.Length; i++)
        {
            pieces[i] = bytes.AsMemory(start, ends[i] - start);
            start = ends[i];
        }
        return pieces;
    }
}
