namespace LazyMount.FileSystem;

/// <summary>Where a path led.</summary>
/// <param name="Node">The node there.</param>
/// <param name="Path">Its absolute path without symlinks, "." and "..", byte-exact; "/" for the root.</param>
public readonly record struct ResolvedPath(ulong Node, byte[] Path);

/// <summary>
/// Walks a path inside an image as a process chrooted there would: absolute link targets start at the image's root and
/// ".." never leaves it. Permissions are not looked at. Frontends need none of this (the kernel walks for them).
/// </summary>
public static class PathResolver
{
    /// <summary>Symbolic links followed in one walk, as in path_resolution(7).</summary>
    public const int MaxLinks = 40;

    /// <summary>Bytes still to walk after putting a link's target in front: 40 links of PATH_MAX and the path itself stay below.</summary>
    private const int MaxPending = 256 << 10;

    /// <summary>
    /// Finds what <paramref name="path"/> names, relative paths starting at the root too. A final symlink is followed when
    /// <paramref name="followFinal"/> is set or a slash stands after it. Answers ENOENT, ENOTDIR, ELOOP or ENAMETOOLONG on failure.
    /// </summary>
    /// <param name="tree">Where to look.</param>
    /// <param name="path">What to look for.</param>
    /// <param name="followFinal">See above.</param>
    /// <param name="resolved">What was found; its path is one from <paramref name="root"/>.</param>
    /// <param name="root">The directory that is the root of the walk.</param>
    public static Errno Resolve(ImageTree tree, ReadOnlySpan<byte> path, bool followFinal, out ResolvedPath resolved, ulong root = ImageTree.RootId)
    {
        ArgumentNullException.ThrowIfNull(tree);
        return Resolve(new OfImage(tree, root), path, followFinal, out resolved);
    }

    /// <summary>The same in any tree.</summary>
    internal static Errno Resolve<TTree>(TTree tree, ReadOnlySpan<byte> path, bool followFinal, out ResolvedPath resolved)
        where TTree : struct, IPathTree
    {
        resolved = default;
        if (path.IsEmpty)
        {
            return Errno.ENOENT;
        }

        // The names from the root down to the current directory; the root itself is not in it.
        List<TreeName> trail = [];
        ulong current = tree.Root;
        byte[] pending = path.ToArray();
        int at = 0, links = 0;
        while (true)
        {
            while (at < pending.Length && pending[at] == '/')
            {
                at++;
            }
            if (at == pending.Length)
            {
                resolved = new ResolvedPath(current, TreePath.Of(trail.Select(static step => step.Name)));
                return Errno.None;
            }

            int length = pending.AsSpan(at).IndexOf((byte)'/');
            int end = length < 0 ? pending.Length : at + length;
            ReadOnlySpan<byte> name = pending.AsSpan(at, end - at);
            bool isFinal = end == pending.Length;
            at = end;
            if (name.SequenceEqual("."u8))
            {
                continue;
            }
            if (name.SequenceEqual(".."u8))
            {
                if (trail.Count > 0)
                {
                    trail.RemoveAt(trail.Count - 1);
                    current = trail.Count == 0 ? tree.Root : trail[^1].Node;
                }
                continue;
            }

            if (tree.Find(current, name) is not { } node)
            {
                return Errno.ENOENT;
            }
            uint type = tree.TypeOf(node);
            if (type == FileMode.Symlink && (!isFinal || followFinal))
            {
                ReadOnlySpan<byte> target = tree.LinkTarget(node);
                if (++links > MaxLinks)
                {
                    return Errno.ELOOP;
                }
                if (target.IsEmpty)
                {
                    return Errno.ENOENT;
                }
                if (target.Length + (pending.Length - at) > MaxPending)
                {
                    return Errno.ENAMETOOLONG;
                }
                if (target[0] == '/')
                {
                    trail.Clear();
                    current = tree.Root;
                }
                pending = [.. target, .. pending.AsSpan(at)];
                at = 0;
                continue;
            }

            trail.Add(new TreeName(name.ToArray(), node));
            current = node;
            if (type != FileMode.Directory)
            {
                if (!isFinal)
                {
                    return Errno.ENOTDIR;
                }
                resolved = new ResolvedPath(node, TreePath.Of(trail.Select(static step => step.Name)));
                return Errno.None;
            }
        }
    }

    private readonly struct OfImage(ImageTree tree, ulong root) : IPathTree
    {
        public ulong Root => root;

        public ulong? Find(ulong directory, ReadOnlySpan<byte> name) => tree.Find(directory, name) is not 0 and var node ? node : null;

        public uint TypeOf(ulong node) => tree.Mode(node) & FileMode.TypeMask;

        public ReadOnlySpan<byte> LinkTarget(ulong node) => tree.LinkTarget(node);
    }
}

/// <summary>A tree in which paths are walked.</summary>
internal interface IPathTree
{
    /// <summary>The root directory.</summary>
    ulong Root { get; }

    /// <summary>What a name in a directory names, or null.</summary>
    ulong? Find(ulong directory, ReadOnlySpan<byte> name);

    /// <summary>Its file type, as in st_mode.</summary>
    uint TypeOf(ulong node);

    /// <summary>Where a symbolic link leads.</summary>
    ReadOnlySpan<byte> LinkTarget(ulong node);
}
