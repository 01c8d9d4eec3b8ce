using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>Finds what a hard link of a layer leads to when that layer alone has no such path: in the layer laid over those below it.</summary>
internal sealed class LinkTargets(TreeSlots tree, MergedTree below, LayerPaths paths, int number)
{
    /// <summary>The object at a path, which is no directory, or -1. Symbolic links of all layers are followed.</summary>
    public int Find(int path)
    {
        below.Budget.Begin();
        var names = new Stack<ReadOnlyMemory<byte>>();
        for (int at = path; at != 0; at = paths.Parent(at))
        {
            below.Budget.CountNames(number);
            names.Push(paths.Name(at).ToArray());
        }
        var trail = new List<(int Here, int Below)> { (TreeSlots.Root, below.Base) };
        while (names.TryPop(out ReadOnlyMemory<byte> name))
        {
            if (name.Span.SequenceEqual(".."u8))
            {
                trail.RemoveRange(Math.Max(1, trail.Count - 1), trail.Count > 1 ? 1 : 0);
                continue;
            }
            (int here, int under) = trail[^1];
            int slot = here < 0 ? -1 : tree.FindSlot(here, name.Span);
            bool isHidden = here >= 0 && ((tree.HidesOf(here) & Hides.Children) != 0 || (slot >= 0 && (tree.HidesOf(slot) & Hides.All) != 0));
            int lower = isHidden || under < 0 ? -1 : below.Slots.Find(under, name.Span);
            int target = slot >= 0 && tree.ObjectOf(slot) >= 0 ? tree.ObjectOf(slot) : lower >= 0 ? below.Slots.ObjectOf(lower) : -1;
            if (target < 0)
            {
                return -1;
            }
            bool isHere = slot >= 0 && tree.ObjectOf(slot) >= 0;
            if (isHere ? tree.IsDirectory(slot) : below.Slots.IsDirectory(lower))
            {
                trail.Add((isHere ? slot : -1, lower >= 0 && below.Slots.IsDirectory(lower) ? lower : -1));
                continue;
            }
            if (names.Count == 0)
            {
                return target;
            }
            if (!below.TryGetLinkTarget(target, out ReadOnlyMemory<byte> link))
            {
                return -1;
            }
            below.Budget.CountLink(number);
            if (link.Span.StartsWith((byte)'/'))
            {
                trail.RemoveRange(1, trail.Count - 1);
            }
            PushNames(link, names);
        }
        return -1;
    }

    private void PushNames(ReadOnlyMemory<byte> link, Stack<ReadOnlyMemory<byte>> names)
    {
        for (int end = link.Length; end > 0;)
        {
            below.Budget.CountNames(number);
            int start = link.Span[..end].LastIndexOf((byte)'/') + 1;
            if (end > start && !link.Span[start..end].SequenceEqual("."u8))
            {
                names.Push(link[start..end]);
            }
            end = start - 1;
        }
    }
}
