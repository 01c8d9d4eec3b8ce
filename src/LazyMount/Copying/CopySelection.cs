using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Copying;

/// <summary>What the PATHs of `cp` name: which nodes of a tree are copied, and under which names.</summary>
internal static class CopySelection
{
    /// <param name="opened">The image.</param>
    /// <param name="paths">The paths. One that ends in "/." or "/.." stands for all that is in the directory.</param>
    /// <param name="follow">Whether a symbolic link at the end of a path is followed.</param>
    /// <param name="destination">What the copies are called; null when they stand in a tar.</param>
    /// <exception cref="CommandException">A path names nothing, or two of them would be copied to one place.</exception>
    public static TreePaths Find(OpenedTree opened, IReadOnlyList<string> paths, bool follow, CopyDestination? destination)
    {
        List<(string Path, ResolvedPath Found, byte[]? Name)> sources = [];
        foreach (string path in paths)
        {
            byte[] bytes = ImagePathText.Encode(path);
            ResolvedPath found = opened.Find(bytes, follow);
            sources.Add((path, found, NameOf(bytes)));
        }
        RefuseOverlaps(opened.Tree, sources);
        if (destination is { Name: { } name })
        {
            if (destination.NeedsDirectory && !FileMode.IsDirectory(opened.Tree.Mode(sources[0].Found.Node)))
            {
                throw destination.Refusal(FileProblem.NoDirectory(destination.Path));
            }
            return new TreePaths(opened.Tree, TreePaths.NoNode, [new TreeName(name, sources[0].Found.Node)]);
        }
        // A tar says what the directory itself is; on disk, the directory that the user named stays as it is.
        ulong top = destination is null && sources is [{ Name: null } only] ? only.Found.Node : TreePaths.NoNode;
        var roots = new List<TreeName>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach ((_, ResolvedPath found, byte[]? own) in sources)
        {
            foreach (TreeName root in own is null ? opened.Tree.NamesIn(found.Node) : [new TreeName(own, found.Node)])
            {
                roots.Add(names.Add(ImagePathText.Decode(root.Name)) ? root
                    : throw new CommandException($"cannot copy '{ImagePathText.Decode(found.Path)}': another path has the name '{ImagePathText.Decode(root.Name)}' too; copy them one after the other"));
            }
        }
        return new TreePaths(opened.Tree, top, roots);
    }

    // The last component as it was written, which may be that of a symbolic link; null for the contents of a directory.
    private static byte[]? NameOf(ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> trimmed = path.TrimEnd((byte)'/');
        ReadOnlySpan<byte> last = trimmed[(trimmed.LastIndexOf((byte)'/') + 1)..];
        return last is [] or [(byte)'.'] or [(byte)'.', (byte)'.'] ? null : last.ToArray();
    }

    private static void RefuseOverlaps(ImageTree tree, List<(string Path, ResolvedPath Found, byte[]? Name)> sources)
    {
        var directories = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int i = 0; i < sources.Count; i++)
        {
            string path = ImagePathText.Decode(sources[i].Found.Path);
            if (FileMode.IsDirectory(tree.Mode(sources[i].Found.Node)) && !directories.TryAdd(path, i))
            {
                throw Overlap(i, directories[path], "is");
            }
        }
        for (int i = 0; i < sources.Count; i++)
        {
            for (string path = ImagePathText.Decode(sources[i].Found.Path); path != "/";)
            {
                path = path[..Math.Max(1, path.LastIndexOf('/'))];
                if (directories.TryGetValue(path, out int outer))
                {
                    throw Overlap(i, outer, "is in");
                }
            }
        }

        CommandException Overlap(int inner, int outer, string relation)
            => new($"cannot copy '{sources[inner].Path}': it {relation} '{sources[outer].Path}', which is copied too; copy them one after the other");
    }
}
