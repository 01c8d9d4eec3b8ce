namespace LazyMount.FileSystem;

/// <summary>
/// One read-only tree out of ordered layers, in flat arrays. Immutable.
/// <para>A <b>position</b> is a directory entry: position 0 is the root, the children of a directory are contiguous and
/// sorted bytewise by name. A <b>node id</b> is the position of a file's first name plus 1, so that the root is 1 and all
/// names of a hard-linked file share one id. Node ids depend on nothing but the layers' digests.</para>
/// </summary>
public sealed class ImageTree
{
    /// <summary>The root's node id.</summary>
    public const ulong RootId = 1;

    /// <summary>Number of positions (names) in the tree.</summary>
    public int Count => throw new NotImplementedException();

    /// <summary>True when some node has extended attributes.</summary>
    public bool HasXattrs => throw new NotImplementedException();

    /// <summary>Sum of the sizes of all distinct regular files.</summary>
    public long TotalFileSize => throw new NotImplementedException();

    /// <summary>True when <paramref name="id"/> is a node of this tree.</summary>
    public bool IsNode(ulong id) => throw new NotImplementedException();

    /// <summary>Node id of the thing named at a position.</summary>
    public ulong NodeAt(int position) => throw new NotImplementedException();

    /// <summary>The byte-exact name at a position; empty for the root.</summary>
    public ReadOnlySpan<byte> NameAt(int position) => throw new NotImplementedException();

    /// <summary>st_mode of a node: file type and permissions.</summary>
    public uint Mode(ulong id) => throw new NotImplementedException();

    /// <summary>All attributes of a node.</summary>
    public NodeAttributes Attributes(ulong id) => throw new NotImplementedException();

    /// <summary>First child position and number of children of a directory (0, 0 for others).</summary>
    public (int First, int Count) Children(ulong directory) => throw new NotImplementedException();

    /// <summary>Node id of the directory that holds a directory (the root's is itself).</summary>
    public ulong ParentOf(ulong directory) => throw new NotImplementedException();

    /// <summary>Finds a child position by name: binary search; -1 when there is none.</summary>
    public int Find(ulong directory, ReadOnlySpan<byte> name) => throw new NotImplementedException();

    /// <summary>Target of a symbolic link.</summary>
    public ReadOnlySpan<byte> LinkTarget(ulong id) => throw new NotImplementedException();

    /// <summary>Value of an extended attribute; false when there is none.</summary>
    public bool TryGetXattr(ulong id, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value) => throw new NotImplementedException();

    /// <summary>Names of the extended attributes, each ended by a zero byte, as listxattr(2) gives them.</summary>
    public ReadOnlySpan<byte> XattrNames(ulong id) => throw new NotImplementedException();

    /// <summary>The layer a node's entry came from (lowest 0), or -1 for a directory that no layer lists.</summary>
    public int LayerOf(ulong id) => throw new NotImplementedException();

    /// <summary>Where a regular file's content begins in the tar of <see cref="LayerOf"/>.</summary>
    public long DataOffset(ulong id) => throw new NotImplementedException();
}
