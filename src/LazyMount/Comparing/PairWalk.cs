using System.Runtime.InteropServices;
using LazyMount.FileSystem;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Comparing;

/// <summary>
/// Walks two trees in step: each name once, in the trees' order, each directory followed by what is in it, with the nodes that it names in
/// the one and the other. Both trees sort names by their bytes, so it holds little more than the path that it is at. Not thread-safe.
/// </summary>
internal sealed class PairWalk
{
    private readonly ComparedTree _before, _after;
    private readonly Stack<Level> _levels = new();
    private readonly List<byte> _path = []; // below the two starts
    private int _name; // where the last component begins
    private bool _began;

    public PairWalk(ComparedTree before, ComparedTree after) => (_before, _after) = (before, after);

    /// <summary>The node in the first tree; <see cref="TreePaths.NoNode"/> when the name is not there.</summary>
    public ulong Before { get; private set; }

    /// <summary>The node in the second tree; <see cref="TreePaths.NoNode"/> when the name is not there.</summary>
    public ulong After { get; private set; }

    /// <summary>The name's path in the first tree.</summary>
    public byte[] BeforePath => Join(_before.Path);

    /// <summary>The name's path in the second tree.</summary>
    public byte[] AfterPath => Join(_after.Path);

    /// <summary>The directory of the first tree in which <see cref="Before"/> has its name, if it is below the start.</summary>
    public ulong BeforeDirectory { get; private set; }

    /// <summary>The directory of the second tree in which <see cref="After"/> has its name, if it is below the start.</summary>
    public ulong AfterDirectory { get; private set; }

    /// <summary>The name; empty at the start. Good until the next call.</summary>
    public ReadOnlySpan<byte> Name => CollectionsMarshal.AsSpan(_path)[_name..];

    /// <summary>Goes to the next name; false behind the last.</summary>
    public bool MoveNext()
    {
        if (!_began)
        {
            _began = true;
            Set(_before.Start, _after.Start);
            return true;
        }
        while (_levels.TryPeek(out Level? level))
        {
            CollectionsMarshal.SetCount(_path, level.PathLength);
            if (level.MoveNext())
            {
                _path.Add((byte)'/');
                _name = _path.Count;
                _path.AddRange(level.Name);
                (BeforeDirectory, AfterDirectory) = (level.BeforeDirectory, level.AfterDirectory);
                Set(level.Before, level.After);
                return true;
            }
            _levels.Pop();
        }
        return false;
    }

    private void Set(ulong before, ulong after)
    {
        (Before, After) = (before, after);
        bool isBefore = IsDirectory(_before, before), isAfter = IsDirectory(_after, after);
        if (isBefore || isAfter)
        {
            _levels.Push(new Level(_path.Count, before, after, NamesIn(_before, before, isBefore), NamesIn(_after, after, isAfter)));
        }
    }

    private static bool IsDirectory(ComparedTree side, ulong node) => node != TreePaths.NoNode && FileMode.IsDirectory(side.Opened.Tree.Mode(node));

    private static IEnumerator<TreeName> NamesIn(ComparedTree side, ulong node, bool isDirectory) => (isDirectory ? side.Opened.Tree.NamesIn(node) : []).GetEnumerator();

    private byte[] Join(byte[] start) => _path.Count == 0 ? start : start is [(byte)'/'] ? [.. _path] : [.. start, .. _path];

    /// <summary>The names of two directories, merged.</summary>
    private sealed class Level(int pathLength, ulong beforeDirectory, ulong afterDirectory, IEnumerator<TreeName> before, IEnumerator<TreeName> after)
    {
        private bool _hasBefore = before.MoveNext(), _hasAfter = after.MoveNext();

        public int PathLength => pathLength;

        public ulong BeforeDirectory => beforeDirectory;

        public ulong AfterDirectory => afterDirectory;

        public byte[] Name { get; private set; } = [];

        public ulong Before { get; private set; }

        public ulong After { get; private set; }

        public bool MoveNext()
        {
            if (!_hasBefore && !_hasAfter)
            {
                return false;
            }
            int order = !_hasBefore ? 1 : !_hasAfter ? -1 : before.Current.Name.AsSpan().SequenceCompareTo(after.Current.Name);
            Name = order <= 0 ? before.Current.Name : after.Current.Name;
            Before = order <= 0 ? before.Current.Node : TreePaths.NoNode;
            After = order >= 0 ? after.Current.Node : TreePaths.NoNode;
            if (order <= 0)
            {
                _hasBefore = before.MoveNext();
            }
            if (order >= 0)
            {
                _hasAfter = after.MoveNext();
            }
            return true;
        }
    }
}
