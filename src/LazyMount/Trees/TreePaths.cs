using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Trees;

/// <summary>A further name of a file that has several.</summary>
/// <param name="Node">The file.</param>
/// <param name="Directory">The directory that the name stands in.</param>
/// <param name="Name">The name.</param>
internal readonly record struct FurtherName(ulong Node, ulong Directory, byte[] Name);

/// <summary>The names of all nodes of a tree by node, which the tree itself finds by directory only. Takes the memory of all names.</summary>
internal sealed class TreePaths
{
    private readonly ImageTree _tree;
    private readonly int[] _starts; // by number of a node: where its first name begins
    private readonly short[] _lengths; // and how long it is
    private readonly byte[] _names;

    public TreePaths(ImageTree tree)
    {
        _tree = tree;
        // Directories come before what is in them, so the first name that is met of a node is its first one.
        var starts = new int[tree.NodeCount];
        var lengths = new short[tree.NodeCount];
        var isMet = new bool[tree.NodeCount];
        List<FurtherName> further = [];
        byte[] names = new byte[1 << 10];
        int end = 0;
        isMet[0] = true;
        for (int number = 0; number < tree.NodeCount; number++)
        {
            ulong directory = tree.NodeAt(number);
            for (DirectoryCursor cursor = tree.ReadDirectory(directory); cursor.MoveNext();)
            {
                if (cursor.IsDots)
                    continue;
                int node = tree.NumberOf(cursor.Node);
                if (isMet[node])
                {
                    further.Add(new FurtherName(cursor.Node, directory, cursor.Name.ToArray()));
                    continue;
                }
                isMet[node] = true;
                if (end + cursor.Name.Length > names.Length)
                    Array.Resize(ref names, checked(names.Length * 2));
                cursor.Name.CopyTo(names.AsSpan(end));
                (starts[node], lengths[node]) = (end, (short)cursor.Name.Length);
                end += cursor.Name.Length;
            }
        }
        (_starts, _lengths, _names, FurtherNames) = (starts, lengths, names, further);
    }

    /// <summary>All further names, those in directories nearer to the root first.</summary>
    public IReadOnlyList<FurtherName> FurtherNames { get; }

    /// <summary>All directories, each before those in it.</summary>
    public IEnumerable<ulong> Directories
        => Enumerable.Range(0, _tree.NodeCount).Select(_tree.NodeAt).Where(node => FileMode.IsDirectory(_tree.Mode(node)));

    /// <summary>The first name of a node; empty for the root.</summary>
    public ReadOnlySpan<byte> NameOf(ulong node)
    {
        int number = _tree.NumberOf(node);
        return _names.AsSpan(_starts[number], _lengths[number]);
    }

    /// <summary>The path of a node's first name from the root, without a slash at its beginning; empty for the root.</summary>
    public byte[] PathOf(ulong node) => node == ImageTree.RootId ? [] : PathOf(_tree.ParentOf(node), NameOf(node));

    /// <summary>The path of a name in a directory.</summary>
    public byte[] PathOf(ulong directory, ReadOnlySpan<byte> name)
    {
        int length = name.Length;
        for (ulong at = directory; at != ImageTree.RootId; at = _tree.ParentOf(at))
            length += NameOf(at).Length + 1;
        byte[] path = new byte[length];
        length -= name.Length;
        name.CopyTo(path.AsSpan(length));
        for (ulong at = directory; at != ImageTree.RootId; at = _tree.ParentOf(at))
        {
            path[--length] = (byte)'/';
            length -= NameOf(at).Length;
            NameOf(at).CopyTo(path.AsSpan(length));
        }
        return path;
    }
}
