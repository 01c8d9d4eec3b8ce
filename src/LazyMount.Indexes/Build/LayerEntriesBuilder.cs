using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>Collects the entries of a layer in the form of a <see cref="LayerIndex"/>.</summary>
/// <param name="budget">Counts what they take.</param>
internal sealed class LayerEntriesBuilder(IndexBudget budget)
{
    private readonly LayerPathsBuilder _paths = new(budget);
    private readonly ByteBuffer _linkTargets = new();
    private readonly List<int> _linkTargetEnds = [];
    private readonly List<SparseMap> _sparseMaps = [];
    private readonly XattrSetsBuilder _xattrSets = new(budget);
    private LayerEntry[] _entries = new LayerEntry[1024];
    private int _count;

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
        budget.Take(IndexBudget.Entry);
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
        int max = budget.Limits.LinkTargetLength;
        if (member.Link.Length > max)
        {
            throw new InvalidDataException($"the target of the symbolic link {TarText.Quote(member.Path)} has {member.Link.Length} bytes, more than the {max} that Linux allows");
        }
        if (member.Link.IsEmpty)
        {
            throw new InvalidDataException($"the symbolic link {TarText.Quote(member.Path)} has no target");
        }
        budget.Take(IndexBudget.LinkTarget + member.Link.Length);
        _linkTargets.Append(member.Link);
        _linkTargetEnds.Add(_linkTargets.Length);
        return _linkTargetEnds.Count - 1;
    }

    private int AddSparseMap(SparseMap map)
    {
        budget.Take(IndexBudget.SparseMap + (long)map.Count * IndexBudget.SparseExtent);
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
        _xattrSets.Begin();
        for (int i = 0; i < member.XattrCount; i++)
        {
            skipped = _xattrSets.Add(member.XattrName(i), member.XattrValue(i)) ?? skipped;
        }
        return _xattrSets.End();
    }

    public LayerPaths BuildPaths() => _paths.Build();

    public LayerEntry[] BuildEntries() => _entries[.._count];

    public SparseMap[] BuildSparseMaps() => [.. _sparseMaps];

    public Xattr[][] BuildXattrSets() => _xattrSets.Build();

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
