using LazyMount.FileSystem;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Trees;

/// <summary>A name that a walk comes to.</summary>
/// <param name="Name">The name, its path and its node.</param>
/// <param name="Depth">1 for what stands in the directory where the walk began.</param>
/// <param name="IsLast">No name follows in its directory.</param>
internal readonly record struct WalkedName(NamedNode Name, int Depth, bool IsLast);

/// <summary>
/// Walks all names below a directory in the tree's order, each directory followed by what is in it. A loop, not recursion, for trees
/// may be thousands of levels deep. It holds the names of the directories between its start and where it is.
/// </summary>
internal static class TreeWalk
{
    /// <param name="tree">The tree.</param>
    /// <param name="start">The directory in which to begin; anything else has nothing below it.</param>
    /// <param name="path">Its path, with which the paths of all names begin.</param>
    /// <param name="depth">How many levels to go down.</param>
    /// <param name="includes">Which names are wanted; what stands below others is not walked.</param>
    public static IEnumerable<WalkedName> Below(ImageTree tree, ulong start, ReadOnlyMemory<byte> path, int depth, Func<NamedNode, bool> includes)
    {
        if (depth < 1)
        {
            yield break;
        }
        var levels = new Stack<(NamedNode[] Names, int Next)>([(Names(start, path), 0)]);
        while (levels.TryPop(out var level))
        {
            if (level.Next == level.Names.Length)
            {
                continue;
            }
            NamedNode name = level.Names[level.Next];
            levels.Push((level.Names, level.Next + 1));
            yield return new WalkedName(name, levels.Count, level.Next + 1 == level.Names.Length);
            if (FileMode.IsDirectory(tree.Mode(name.Node)) && levels.Count < depth)
            {
                levels.Push((Names(name.Node, name.Path), 0));
            }
        }

        NamedNode[] Names(ulong directory, ReadOnlyMemory<byte> at) => [.. ChildrenOf(tree, directory, at).Where(includes)];
    }

    /// <summary>The names in a directory in the tree's order, their paths below <paramref name="path"/>.</summary>
    public static IEnumerable<NamedNode> ChildrenOf(ImageTree tree, ulong directory, ReadOnlyMemory<byte> path)
    {
        foreach ((byte[] name, ulong node) in tree.NamesIn(directory))
        {
            byte[] child = path.Span.EndsWith("/"u8) ? [.. path.Span, .. name] : [.. path.Span, (byte)'/', .. name];
            yield return new NamedNode(name, child, node);
        }
    }
}
