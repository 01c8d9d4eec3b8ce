using System.Text;
using LazyMount.Blobs.Cache;
using LazyMount.Compression;
using LazyMount.Indexes.Model;

namespace LazyMount.Tests.FileSystem;

/// <summary>Writes a layer's table of contents by hand, in tar order, for trees that need no bytes.</summary>
internal sealed class LayerBuilder
{
    private readonly List<int> _parents = [-1];
    private readonly List<byte[]> _names = [[]];
    private readonly Dictionary<(int, string), int> _paths = [];
    private readonly Dictionary<string, int> _known = [];
    private readonly List<LayerEntry> _entries = [];
    private readonly List<ReadOnlyMemory<byte>> _targets = [];
    private readonly List<Xattr[]> _xattrs = [];
    private readonly List<SparseMap> _sparseMaps = [];
    private long _offset;

    public LayerBuilder File(string path, long size = 1, ushort mode = 0b110_100_100, uint uid = 0, long mtime = 0, params (string Name, string Value)[] xattrs)
    {
        _offset += 512;
        int set = -1;
        if (xattrs.Length > 0)
        {
            set = _xattrs.Count;
            _xattrs.Add([.. xattrs.Select(x => new Xattr(Encoding.UTF8.GetBytes(x.Name), Encoding.UTF8.GetBytes(x.Value)))]);
        }
        Add(path, EntryType.File, mode, uid, size, mtime: mtime, xattrSet: set);
        _offset += (size + 511) / 512 * 512;
        return this;
    }

    public LayerBuilder Sparse(string path, long size, params (long Offset, long Length)[] extents)
    {
        long stored = 0;
        var map = new SparseExtent[extents.Length];
        for (int i = 0; i < map.Length; i++)
        {
            map[i] = new SparseExtent(extents[i].Offset, stored);
            stored += extents[i].Length;
        }
        _sparseMaps.Add(new SparseMap(map, stored));
        _offset += 512;
        Add(path, EntryType.File, 0b110_100_100, size: size);
        _entries[^1] = _entries[^1] with { SparseMap = _sparseMaps.Count };
        _offset += (stored + 511) / 512 * 512;
        return this;
    }

    public LayerBuilder Directory(string path, ushort mode = 0b111_101_101, uint uid = 0) => Add(path, EntryType.Directory, mode, uid);

    public LayerBuilder Symlink(string path, string target)
    {
        _targets.Add(Encoding.UTF8.GetBytes(target));
        return Add(path, EntryType.Symlink, 0b111_101_101, linkTarget: _targets.Count - 1);
    }

    public LayerBuilder HardLink(string path, string target, ushort mode = 0b110_100_100, uint uid = 0, long mtime = 0) =>
        Add(path, EntryType.HardLink, mode, uid, linkPath: Path(target), mtime: mtime);

    public LayerBuilder Device(string path, uint major, uint minor) => Add(path, EntryType.CharacterDevice, 0b110_000_000, device: (major, minor));

    public LayerBuilder Fifo(string path) => Add(path, EntryType.Fifo, 0b110_000_000);

    public LayerIndex Build()
    {
        var ends = new int[_names.Count];
        for (int i = 1; i < ends.Length; i++)
        {
            ends[i] = ends[i - 1] + _names[i].Length;
        }
        return new LayerIndex
        {
            Digest = default,
            CompressedSize = _offset,
            UncompressedSize = _offset,
            Format = CompressionFormat.None,
            Proof = Proof.ByLayer(new ChunkDigests(1, [])),
            Checkpoints = null!, // trees never look at them
            Paths = new LayerPaths([.. _parents], ends, [.. _names.SelectMany(n => n)]),
            Entries = [.. _entries],
            SparseMaps = [.. _sparseMaps],
            LinkTargets = [.. _targets],
            XattrSets = [.. _xattrs],
        };
    }

    private LayerBuilder Add(string path, EntryType type, ushort mode, uint uid = 0, long size = 0, int linkPath = -1, int linkTarget = -1, long mtime = 0, int xattrSet = -1, (uint, uint) device = default)
    {
        _entries.Add(new LayerEntry
        {
            Path = Path(path),
            Type = type,
            Mode = mode,
            Uid = uid,
            Size = size,
            MtimeSeconds = mtime,
            DataOffset = type == EntryType.File ? _offset : 0,
            LinkPath = linkPath,
            LinkTarget = linkTarget,
            XattrSet = xattrSet,
            DeviceMajor = device.Item1,
            DeviceMinor = device.Item2,
        });
        return this;
    }

    private int Path(string path)
    {
        if (!_known.TryGetValue(path, out int known))
        {
            _known[path] = known = Add(path);
        }
        return known;
    }

    private int Add(string path)
    {
        int node = 0;
        foreach (string name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            if (!_paths.TryGetValue((node, name), out int child))
            {
                child = _parents.Count;
                _parents.Add(node);
                _names.Add(Encoding.Latin1.GetBytes(name));
                _paths.Add((node, name), child);
            }
            node = child;
        }
        return node;
    }
}
