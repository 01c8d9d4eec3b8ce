using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Trees;

/// <summary>
/// Walks a node and all names below it in the tree's order, and comes back to each directory after what is in it. It holds one path and, for
/// each directory that it is in, a few names. A loop, not recursion, for trees may be thousands of levels deep.
/// </summary>
/// <param name="tree">The tree.</param>
/// <param name="start">The node where the walk begins.</param>
/// <param name="path">The path of <paramref name="start"/>, with which the paths of all names begin.</param>
internal sealed class DepthFirstWalk(ImageTree tree, ulong start, ReadOnlySpan<byte> path)
{
    private readonly record struct Level(IEnumerator<TreeName> Names, ulong Directory, int PathLength);

    private readonly Stack<Level> _levels = new();
    private byte[] _path = path.ToArray();
    private int _length = path.Length;
    private bool _isStarted;
    private bool _descends;

    /// <summary>The path of the name; good until the next move.</summary>
    public ReadOnlySpan<byte> Path => _path.AsSpan(0, _length);

    /// <summary>Its node.</summary>
    public ulong Node { get; private set; }

    /// <summary>0 at the start.</summary>
    public int Depth => _levels.Count;

    /// <summary>The node is a directory.</summary>
    public bool IsDirectory { get; private set; }

    /// <summary>The walk has been in this directory and leaves it. What <see cref="SkipBelow"/> skipped is not left.</summary>
    public bool IsLeaving { get; private set; }

    /// <summary>Does not go into the directory that the walk has come to.</summary>
    public void SkipBelow() => _descends = false;

    /// <summary>Goes to the next name, or back to a directory; false at the end.</summary>
    public bool MoveNext()
    {
        if (!_isStarted)
        {
            _isStarted = true;
            ComeTo(start);
            return true;
        }
        if (_descends)
        {
            _levels.Push(new Level(tree.NamesIn(Node).GetEnumerator(), Node, _length));
            _descends = false;
        }
        if (!_levels.TryPeek(out Level level))
        {
            return false;
        }
        if (level.Names.MoveNext())
        {
            SetName(level.PathLength, level.Names.Current.Name);
            ComeTo(level.Names.Current.Node);
            return true;
        }
        level.Names.Dispose();
        _levels.Pop();
        (_length, Node, IsDirectory, IsLeaving) = (level.PathLength, level.Directory, true, true);
        return true;
    }

    private void ComeTo(ulong node)
    {
        (Node, IsDirectory, IsLeaving) = (node, FileMode.IsDirectory(tree.Mode(node)), false);
        _descends = IsDirectory;
    }

    private void SetName(int parentLength, byte[] name)
    {
        bool needsSlash = parentLength > 0 && _path[parentLength - 1] != '/';
        _length = parentLength + (needsSlash ? 1 : 0) + name.Length;
        if (_length > _path.Length)
        {
            Array.Resize(ref _path, _length * 2);
        }
        if (needsSlash)
        {
            _path[parentLength] = (byte)'/';
        }
        name.CopyTo(_path, _length - name.Length);
    }
}
