namespace LazyMount.Indexes.Model;

/// <summary>
/// Every distinct path of a layer once, as a tree of byte-exact names. Node 0 is the root; a parent's number is
/// always smaller than its children's; (parent, name) is unique. Paths are cleaned: no empty, "." or ".." components.
/// </summary>
public sealed class LayerPaths
{
    private readonly int[] _parents;
    private readonly int[] _nameEnds;
    private readonly byte[] _names;

    /// <summary>Takes ownership of the arrays. <paramref name="nameEnds"/>[i] is where node i's name ends in <paramref name="names"/>; it begins where node i-1's ends.</summary>
    public LayerPaths(int[] parents, int[] nameEnds, byte[] names) => (_parents, _nameEnds, _names) = (parents, nameEnds, names);

    /// <summary>Whether no file can have this name. A whiteout's can be longer: its mark stands before a name that may have all that Linux allows.</summary>
    internal static bool IsTooLong(ReadOnlySpan<byte> name, int limit) => name.Length > limit && !(name.StartsWith(".wh."u8) && name.Length - ".wh."u8.Length <= limit);

    /// <summary>Number of nodes, the root included.</summary>
    public int Count => _parents.Length;

    /// <summary>All names, one behind the other.</summary>
    public ReadOnlyMemory<byte> Names => _names;

    /// <summary>The node of the directory that holds it; the root's is -1.</summary>
    public int Parent(int node) => _parents[node];

    /// <summary>The last component of its path; empty for the root.</summary>
    public ReadOnlySpan<byte> Name(int node)
    {
        int start = node == 0 ? 0 : _nameEnds[node - 1];
        return _names.AsSpan(start, _nameEnds[node] - start);
    }

    /// <summary>A node's path from the root, which begins with a slash; "/" for the root.</summary>
    public byte[] PathOf(int node)
    {
        if (node == 0)
        {
            return "/"u8.ToArray();
        }
        int length = 0;
        for (int at = node; at > 0; at = Parent(at))
        {
            length += 1 + Name(at).Length;
        }
        var path = new byte[length];
        for (int at = node; at > 0; at = Parent(at))
        {
            length -= Name(at).Length;
            Name(at).CopyTo(path.AsSpan(length));
            path[--length] = (byte)'/';
        }
        return path;
    }
}
