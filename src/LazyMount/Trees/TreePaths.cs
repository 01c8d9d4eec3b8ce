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
    private readonly int[] _parents; // and the number of its directory
    private readonly byte[] _names;

    public TreePaths(ImageTree tree)
    {
        _tree = tree;
        // Directories come before what is in them, so the first name that is met of a node is its first one.
        var starts = new int[tree.NodeCount];
        var lengths = new short[tree.NodeCount];
        var parents = new int[tree.NodeCount];
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
                (starts[node], lengths[node], parents[node]) = (end, (short)cursor.Name.Length, number);
                end += cursor.Name.Length;
            }
        }
        (_starts, _lengths, _parents, _names, FurtherNames) = (starts, lengths, parents, names, further);
    }

    /// <summary>All further names, those in directories nearer to the root first.</summary>
    public IReadOnlyList<FurtherName> FurtherNames { get; }

    /// <summary>All directories, each before those in it.</summary>
    public IEnumerable<ulong> Directories
        => Enumerable.Range(0, _tree.NodeCount).Select(_tree.NodeAt).Where(node => FileMode.IsDirectory(_tree.Mode(node)));

    /// <summary>The first name of a node; empty for the root.</summary>
    public ReadOnlySpan<byte> NameOf(ulong node) => NameAt(_tree.NumberOf(node));

    /// <summary>The path of a node's first name from the root, without a slash at its beginning; empty for the root.</summary>
    public byte[] PathOf(ulong node) => node == ImageTree.RootId ? [] : PathOf(_parents[_tree.NumberOf(node)], NameOf(node));

    /// <summary>The path of a name in a directory.</summary>
    public byte[] PathOf(ulong directory, ReadOnlySpan<byte> name) => PathOf(_tree.NumberOf(directory), name);

    private ReadOnlySpan<byte> NameAt(int number) => _names.AsSpan(_starts[number], _lengths[number]);

    private byte[] PathOf(int directory, ReadOnlySpan<byte> name)
    {
        int length = name.Length;
        for (int at = directory; at != 0; at = _parents[at])
            length += _lengths[at] + 1;
        byte[] path = new byte[length];
        length -= name.Length;
        name.CopyTo(path.AsSpan(length));
        for (int at = directory; at != 0; at = _parents[at])
        {
            path[--length] = (byte)'/';
            length -= _lengths[at];
            NameAt(at).CopyTo(path.AsSpan(length));
        }
        return path;
    }
}
