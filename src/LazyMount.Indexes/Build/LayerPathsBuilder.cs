using System.IO.Hashing;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>
/// Grows a <see cref="LayerPaths"/> while a tar is scanned: a hash table over (parent, name), open addressing, no
/// objects per path. Tars list a directory's children together, so the last directory is remembered and most paths
/// cost one look-up.
/// </summary>
internal sealed class LayerPathsBuilder
{
    private const int Root = 0;

    // Secret per process, so that no tar can be made whose names all collide.
    private static readonly long s_seed = Random.Shared.NextInt64();

    private readonly IndexBudget _budget;
    private readonly IndexLimits _limits;
    private int[] _parents = new int[1024];
    private int[] _nameEnds = new int[1024];
    private readonly ByteBuffer _names = new();
    private uint[] _hashes = new uint[1024];
    private int[] _table = new int[2048]; // nodes; 0, the root, means free
    private int _count = 1;

    private readonly ByteBuffer _lastDirectory = new(); // as the tar wrote it, with its slash
    private int _lastDirectoryNode;
    private int _lastDirectoryDepth;
    private Range[] _components = new Range[16];

    /// <param name="budget">Counts what the paths take.</param>
    public LayerPathsBuilder(IndexBudget budget)
    {
        (_budget, _limits) = (budget, budget.Limits);
        _parents[Root] = -1;
    }

    public int Count => _count;

    /// <summary>
    /// The node of a path as a tar wrote it. Slashes at both ends, empty components and "." mean nothing; ".." goes up
    /// and stops at the root.
    /// </summary>
    public int Add(ReadOnlySpan<byte> path)
    {
        if (path.Length > _limits.PathLength)
        {
            throw new InvalidDataException($"the path {TarText.Quote(path)} of {path.Length} bytes is longer than the limit of {_limits.PathLength}");
        }
        path = path.TrimEnd((byte)'/');
        int split = path.LastIndexOf((byte)'/') + 1;
        ReadOnlySpan<byte> name = path[split..];
        if (path[..split].SequenceEqual(_lastDirectory.Bytes) && split > 0 && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
        {
            EnsureDepth(_lastDirectoryDepth + 1, path);
            return AddChild(_lastDirectoryNode, name);
        }

        int depth = Clean(path, split, out int directoryDepth);
        EnsureDepth(depth, path);
        int node = Root, directory = Root;
        for (int i = 0; i < depth; i++)
        {
            node = AddChild(node, path[_components[i]]);
            directory = i < directoryDepth ? node : directory;
        }
        if (directoryDepth >= 0)
        {
            _lastDirectory.Set(path[..split]);
            (_lastDirectoryNode, _lastDirectoryDepth) = (directory, directoryDepth);
        }
        return node;
    }

    /// <summary>
    /// Fills <see cref="_components"/> and tells how many are left. <paramref name="directoryDepth"/> is how many of them
    /// the part before <paramref name="split"/> has, or -1 when the last component goes up.
    /// </summary>
    private int Clean(ReadOnlySpan<byte> path, int split, out int directoryDepth)
    {
        int depth = 0;
        directoryDepth = split == 0 ? 0 : -1;
        for (int start = 0; start < path.Length;)
        {
            int length = path[start..].IndexOf((byte)'/');
            int end = length < 0 ? path.Length : start + length;
            ReadOnlySpan<byte> component = path[start..end];
            if (component.SequenceEqual(".."u8))
            {
                depth = Math.Max(0, depth - 1);
            }
            else if (!component.IsEmpty && !component.SequenceEqual("."u8))
            {
                if (depth == _components.Length)
                {
                    Array.Resize(ref _components, depth * 2);
                }
                _components[depth++] = start..end;
            }
            start = end + 1;
            if (start == split)
            {
                directoryDepth = depth;
            }
        }
        if (directoryDepth > depth)
        {
            directoryDepth = -1;
        }
        return depth;
    }

    private void EnsureDepth(int depth, ReadOnlySpan<byte> path)
    {
        if (depth > _limits.PathDepth)
        {
            throw new InvalidDataException($"the path {TarText.Quote(path)} has more than {_limits.PathDepth} components");
        }
    }

    private int AddChild(int parent, ReadOnlySpan<byte> name)
    {
        uint hash = (uint)XxHash3.HashToUInt64(name, s_seed ^ parent);
        int mask = _table.Length - 1;
        int slot = (int)hash & mask;
        for (; _table[slot] != Root; slot = (slot + 1) & mask)
        {
            int node = _table[slot];
            if (_hashes[node] == hash && _parents[node] == parent && Name(node).SequenceEqual(name))
            {
                return node;
            }
        }
        return Insert(slot, hash, parent, name);
    }

    private int Insert(int slot, uint hash, int parent, ReadOnlySpan<byte> name)
    {
        if (LayerPaths.IsTooLong(name, _limits.NameLength))
        {
            throw new InvalidDataException($"the name {TarText.Quote(name)} of {name.Length} bytes is longer than the {_limits.NameLength} that Linux allows");
        }
        if (name.Contains((byte)0))
        {
            throw new InvalidDataException($"the name {TarText.Quote(name)} holds a zero byte");
        }
        _budget.Take(IndexBudget.Path + name.Length);
        int node = _count++;
        if (node == _parents.Length)
        {
            Array.Resize(ref _parents, node * 2);
            Array.Resize(ref _nameEnds, node * 2);
            Array.Resize(ref _hashes, node * 2);
        }
        _names.Append(name);
        (_parents[node], _nameEnds[node], _hashes[node]) = (parent, _names.Length, hash);
        _table[slot] = node;
        if (_count * 2 > _table.Length)
        {
            Rehash();
        }
        return node;
    }

    private void Rehash()
    {
        _table = new int[_table.Length * 2];
        int mask = _table.Length - 1;
        for (int node = 1; node < _count; node++)
        {
            int slot = (int)_hashes[node] & mask;
            while (_table[slot] != Root)
            {
                slot = (slot + 1) & mask;
            }
            _table[slot] = node;
        }
    }

    private ReadOnlySpan<byte> Name(int node) => _names.Bytes[_nameEnds[node - 1].._nameEnds[node]];

    public LayerPaths Build() => new(_parents[.._count], _nameEnds[.._count], _names.ToArray());
}
