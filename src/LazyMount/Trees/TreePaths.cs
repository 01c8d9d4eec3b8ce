using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Trees;

/// <summary>Where the names of a tree stand: what <see cref="ImageTree"/> itself keeps for directories only.</summary>
internal sealed class TreePaths
{
    private readonly ImageTree _tree;
    private readonly int[] _parents;

    public TreePaths(ImageTree tree)
    {
        (_tree, _parents) = (tree, new int[tree.Count]);
        for (int position = 0; position < tree.Count; position++)
        {
            if (IsDirectory(position))
            {
                (int first, int count) = tree.Children((ulong)position + 1);
                _parents.AsSpan(first, count).Fill(position);
            }
        }
    }

    public bool IsDirectory(int position) => FileMode.IsDirectory(_tree.Mode(_tree.NodeAt(position)));

    /// <summary>False for further names of a file.</summary>
    public bool IsFirstName(int position) => _tree.NodeAt(position) == (ulong)position + 1;

    /// <summary>The position of the directory that a position is a name in; the root's is the root.</summary>
    public int ParentOf(int position) => _parents[position];

    /// <summary>The path from the root, without a slash at its beginning; empty for the root.</summary>
    public byte[] PathOf(int position)
    {
        int length = -1;
        for (int at = position; at > 0; at = _parents[at])
        {
            length += _tree.NameAt(at).Length + 1;
        }
        byte[] path = new byte[Math.Max(0, length)];
        int end = path.Length;
        for (int at = position; at > 0; at = _parents[at])
        {
            ReadOnlySpan<byte> name = _tree.NameAt(at);
            name.CopyTo(path.AsSpan(end - name.Length));
            end -= name.Length + 1;
            if (end >= 0)
            {
                path[end] = (byte)'/';
            }
        }
        return path;
    }
}
