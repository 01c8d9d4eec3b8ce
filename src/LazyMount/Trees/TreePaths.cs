using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Trees;

/// <summary>A further name of a file that has several.</summary>
/// <param name="Node">The file.</param>
/// <param name="Directory">The directory that the name stands in.</param>
/// <param name="Name">The name.</param>
internal readonly record struct FurtherName(ulong Node, ulong Directory, byte[] Name);

/// <summary>
/// A part of a tree, which is written elsewhere: some names (<see cref="Roots"/>) with all that is below them, and the names of its nodes by
/// node, which the tree itself finds by directory only. Paths are relative to the directory in which the roots stand there
/// (<see cref="Top"/>). Takes the memory of all names of the part, and 10 bytes for every node of the tree.
/// </summary>
internal sealed class TreePaths
{
    /// <summary>No node of any tree: the <see cref="Top"/> of roots that are gathered from several directories.</summary>
    public const ulong NoNode = 0;

    private const int InTop = -1;

    private readonly ImageTree _tree;
    private readonly int[] _starts; // by number of a node: where its first name begins
    private readonly short[] _lengths; // and how long it is: 0 for a node that is not in the part
    private readonly int[] _parents; // and the number of its directory, or InTop
    private readonly List<int> _order = []; // the numbers of the part's nodes, directories before what is in them
    private byte[] _names = new byte[1 << 10];
    private int _end;
    private readonly List<FurtherName> _further = [];

    /// <summary>All of a tree.</summary>
    public TreePaths(ImageTree tree)
        : this(tree, ImageTree.RootId, tree.NamesIn(ImageTree.RootId))
    {
    }

    /// <param name="tree">The tree.</param>
    /// <param name="top">The directory of the tree that stands for the one in which the roots stand; or <see cref="NoNode"/>.</param>
    /// <param name="roots">The names, which differ. No root is below another one.</param>
    public TreePaths(ImageTree tree, ulong top, IEnumerable<TreeName> roots)
    {
        (_tree, Top, Roots) = (tree, top, [.. roots]);
        (_starts, _lengths, _parents) = (new int[tree.NodeCount], new short[tree.NodeCount], new int[tree.NodeCount]);
        foreach ((byte[] name, ulong node) in Roots)
            Add(name, node, InTop, top);
        for (int next = 0; next < _order.Count; next++)
        {
            int number = _order[next];
            ulong directory = tree.NodeAt(number);
            for (DirectoryCursor cursor = tree.ReadDirectory(directory); cursor.MoveNext();)
            {
                if (!cursor.IsDots)
                    Add(cursor.Name, cursor.Node, number, directory);
            }
        }
    }

    /// <summary>
    /// The node of the directory in which the roots stand: its attributes may be written too. <see cref="NoNode"/> when they are gathered
    /// from several.
    /// </summary>
    public ulong Top { get; }

    /// <summary>The names in <see cref="Top"/>.</summary>
    public IReadOnlyList<TreeName> Roots { get; }

    /// <summary>All further names, those in directories nearer to the top first.</summary>
    public IReadOnlyList<FurtherName> FurtherNames => _further;

    /// <summary>All nodes below the top, each directory before those in it.</summary>
    public IEnumerable<ulong> Nodes => _order.Select(_tree.NodeAt);

    /// <summary>Bytes that the layers hold of all files. Looked for each time.</summary>
    public long ContentSize => Top == ImageTree.RootId ? _tree.TotalFileSize : Nodes.Where(node => FileMode.IsRegular(_tree.Mode(node))).Sum(_tree.StoredSize);

    /// <summary>All directories below the top, each before those in it.</summary>
    public IEnumerable<ulong> Directories => Nodes.Where(node => FileMode.IsDirectory(_tree.Mode(node)));

    /// <summary>The names in <see cref="Top"/> or in a directory below it.</summary>
    public IEnumerable<TreeName> NamesIn(ulong directory) => directory == Top ? Roots : _tree.NamesIn(directory);

    /// <summary>The directory in which a node's first name stands: <see cref="Top"/>, or one below it.</summary>
    public ulong ParentOf(ulong node) => _parents[_tree.NumberOf(node)] is var parent && parent == InTop ? Top : _tree.NodeAt(parent);

    /// <summary>The first name of a node below the top.</summary>
    public ReadOnlySpan<byte> NameOf(ulong node) => NameAt(_tree.NumberOf(node));

    /// <summary>The path of a node's first name, without a slash at its beginning; empty for the top.</summary>
    public byte[] PathOf(ulong node) => node == Top ? [] : PathOf(_parents[_tree.NumberOf(node)], NameOf(node));

    /// <summary>The path of a name in a directory.</summary>
    public byte[] PathOf(ulong directory, ReadOnlySpan<byte> name) => PathOf(directory == Top ? InTop : _tree.NumberOf(directory), name);

    // The first name that is met of a node is its first one.
    private void Add(ReadOnlySpan<byte> name, ulong node, int parent, ulong directory)
    {
        int number = _tree.NumberOf(node);
        if (_lengths[number] > 0)
        {
            _further.Add(new FurtherName(node, directory, name.ToArray()));
            return;
        }
        if (_end + name.Length > _names.Length)
            Array.Resize(ref _names, checked(_names.Length * 2));
        name.CopyTo(_names.AsSpan(_end));
        (_starts[number], _lengths[number], _parents[number]) = (_end, (short)name.Length, parent);
        _end += name.Length;
        _order.Add(number);
    }

    private ReadOnlySpan<byte> NameAt(int number) => _names.AsSpan(_starts[number], _lengths[number]);

    private byte[] PathOf(int directory, ReadOnlySpan<byte> name)
    {
        int length = name.Length;
        for (int at = directory; at != InTop; at = _parents[at])
            length += _lengths[at] + 1;
        byte[] path = new byte[length];
        length -= name.Length;
        name.CopyTo(path.AsSpan(length));
        for (int at = directory; at != InTop; at = _parents[at])
        {
            path[--length] = (byte)'/';
            length -= _lengths[at];
            NameAt(at).CopyTo(path.AsSpan(length));
        }
        return path;
    }
}
