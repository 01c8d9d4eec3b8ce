using System.Collections;
using LazyMount.FileSystem;

namespace LazyMount.Trees;

/// <summary>One sum of <see cref="DiskUsage"/>; good until the next one.</summary>
internal readonly ref struct DiskUsageEntry
{
    public required ReadOnlySpan<byte> Path { get; init; }

    public required ulong Node { get; init; }

    /// <summary>Bytes of the node and all that is below it, without what was counted before.</summary>
    public required long Bytes { get; init; }

    /// <summary>0 for a path that was asked for.</summary>
    public required int Depth { get; init; }

    public required bool IsDirectory { get; init; }
}

/// <summary>Takes a sum.</summary>
internal delegate void DiskUsageTaker(DiskUsageEntry entry);

/// <summary>
/// Sums what files take, as du(1) does on a mount: a directory after what is in it, and each file once, however many names it has and
/// however many paths lead to it. Holds one bit for each node. Not thread-safe.
/// </summary>
/// <param name="tree">The tree.</param>
/// <param name="countsContent">Counts content bytes, holes included, instead of the blocks of stat(2).</param>
internal sealed class DiskUsage(ImageTree tree, bool countsContent)
{
    private readonly BitArray _counted = new(tree.NodeCount);

    /// <summary>Bytes of all that was counted so far.</summary>
    public long Total { get; private set; }

    /// <summary>Counts a node and all that is below it.</summary>
    /// <param name="start">The node.</param>
    /// <param name="path">Its path, with which the paths of all names begin.</param>
    /// <param name="take">Takes each sum.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public void Count(ulong start, ReadOnlySpan<byte> path, DiskUsageTaker take, CancellationToken cancellationToken)
    {
        var sums = new Stack<long>(); // of the directories that the walk is in
        var walk = new DepthFirstWalk(tree, start, path);
        while (walk.MoveNext())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!walk.IsLeaving)
            {
                int number = tree.NumberOf(walk.Node);
                if (_counted[number])
                {
                    walk.SkipBelow();
                    continue;
                }
                _counted[number] = true;
                sums.Push(BytesOf(walk.Node));
                if (walk.IsDirectory)
                {
                    continue;
                }
            }
            long sum = sums.Pop();
            take(new DiskUsageEntry { Path = walk.Path, Node = walk.Node, Bytes = sum, Depth = walk.Depth, IsDirectory = walk.IsDirectory });
            if (sums.TryPop(out long parent))
            {
                sums.Push(parent + sum);
            }
            else
            {
                Total += sum;
            }
        }
    }

    private long BytesOf(ulong node) => tree.Attributes(node) is var attributes && countsContent ? attributes.Size : attributes.Blocks * 512;
}
