using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Listing;

/// <summary>
/// Lists files and directories of a tree as ls(1) does. Names that are listed one a line in the tree's order are not held in memory, however
/// many a directory has. Loops, not recursion, for trees may be thousands of levels deep. Not thread-safe.
/// </summary>
/// <param name="output">Where to.</param>
/// <param name="tree">The tree.</param>
/// <param name="style">How to list.</param>
internal sealed class Lister(CommandOutput output, ImageTree tree, ListingStyle style)
{
    private bool _hasWritten;

    /// <summary>Lists paths: first those that are no directories, then what is in each directory, below a heading if there are several.</summary>
    /// <param name="given">The paths.</param>
    /// <param name="hasHeadings">Directories have headings in any case.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public void List(IEnumerable<NamedNode> given, bool hasHeadings, CancellationToken cancellationToken)
    {
        ILookup<bool, NamedNode> kinds = given.ToLookup(path => !style.ListsDirectories && FileMode.IsDirectory(tree.Mode(path.Node)));
        List<NamedNode> files = [.. kinds[false]], directories = [.. kinds[true]];
        style.Order.Sort(files, tree);
        style.Order.Sort(directories, tree);
        if (files.Count > 0)
        {
            Write(files);
            _hasWritten = true;
        }
        foreach (NamedNode directory in directories)
        {
            ListDirectory(directory with { Path = directory.Name }, hasHeadings || style.IsRecursive || files.Count + directories.Count > 1, cancellationToken);
        }
    }

    /// <summary>Writes an object of JSON a line for each path that is no directory, and for each name in directories, in the order of paths and names.</summary>
    public void ListJson(IEnumerable<NamedNode> given, CancellationToken cancellationToken)
    {
        using var lines = new JsonLines(output);
        var levels = new Stack<IEnumerator<NamedNode>>();
        foreach (NamedNode path in given)
        {
            if (style.ListsDirectories || !FileMode.IsDirectory(tree.Mode(path.Node)))
            {
                lines.Write(EntryListing.Of(tree, path.Node, path.Path.Span), ListingJson.Default.EntryListing);
                continue;
            }
            for (levels.Push(Ordered(NamesIn(path)).GetEnumerator()); levels.TryPeek(out IEnumerator<NamedNode>? level);)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!level.MoveNext())
                {
                    levels.Pop().Dispose();
                    continue;
                }
                lines.Write(EntryListing.Of(tree, level.Current.Node, level.Current.Path.Span), ListingJson.Default.EntryListing);
                if (style.IsRecursive && FileMode.IsDirectory(tree.Mode(level.Current.Node)))
                {
                    levels.Push(Ordered(NamesIn(level.Current)).GetEnumerator());
                }
            }
        }
    }

    private void ListDirectory(NamedNode start, bool hasHeading, CancellationToken cancellationToken)
    {
        WriteDirectory(start, hasHeading);
        var levels = new Stack<IEnumerator<NamedNode>>();
        if (style.IsRecursive)
        {
            levels.Push(DirectoriesIn(start));
        }
        while (levels.TryPeek(out IEnumerator<NamedNode>? level))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!level.MoveNext())
            {
                levels.Pop().Dispose();
                continue;
            }
            // A directory below is headed by its path.
            NamedNode directory = level.Current with { Name = level.Current.Path };
            WriteDirectory(directory, hasHeading);
            levels.Push(DirectoriesIn(directory));
        }
    }

    private void WriteDirectory(NamedNode directory, bool hasHeading)
    {
        if (_hasWritten)
        {
            output.WriteLine();
        }
        _hasWritten = true;
        if (hasHeading)
        {
            output.WriteName(directory.Name.Span);
            output.WriteLine(":");
        }
        IEnumerable<NamedNode> names = Ordered(NamesIn(directory));
        if (style.IsLong)
        {
            long blocks = 0;
            foreach (NamedNode name in names)
            {
                blocks += tree.Attributes(name.Node).Blocks;
            }
            output.WriteLine(style.HasHumanSizes ? $"total {ByteSize.FormatShort(blocks * 512)}" : $"total {(blocks + 1) / 2}");
        }
        Write(names);
    }

    // The names that are shown, in the tree's order: in it, a few names come before the dots.
    private IEnumerable<NamedNode> NamesIn(NamedNode directory)
    {
        Queue<NamedNode> dots = style.ShowsDots
            ? new([
                new NamedNode("."u8.ToArray(), directory.Path, directory.Node),
                new NamedNode(".."u8.ToArray(), directory.Path, tree.ParentOf(directory.Node)),
            ])
            : new();
        foreach (NamedNode child in TreeWalk.ChildrenOf(tree, directory.Node, directory.Path))
        {
            while (dots.TryPeek(out NamedNode dot) && dot.Name.Span.SequenceCompareTo(child.Name.Span) < 0)
            {
                yield return dots.Dequeue();
            }
            if (style.Shows(child.Name.Span))
            {
                yield return child;
            }
        }
        while (dots.TryDequeue(out NamedNode dot))
        {
            yield return dot;
        }
    }

    private IEnumerator<NamedNode> DirectoriesIn(NamedNode directory)
        => Ordered(TreeWalk.ChildrenOf(tree, directory.Node, directory.Path)
            .Where(child => style.Shows(child.Name.Span) && FileMode.IsDirectory(tree.Mode(child.Node)))).GetEnumerator();

    private IEnumerable<NamedNode> Ordered(IEnumerable<NamedNode> namesOfTree)
    {
        if (style.Order.IsOfTree)
        {
            return namesOfTree;
        }
        List<NamedNode> names = [.. namesOfTree];
        style.Order.Sort(names, tree);
        return names;
    }

    private void Write(IEnumerable<NamedNode> names)
    {
        if (style.IsLong)
        {
            LongColumns columns = LongColumns.Measure(tree, names, style);
            foreach (NamedNode name in names)
            {
                columns.Write(output, tree, name, style);
            }
        }
        else if (style.Width > 0)
        {
            WriteSideBySide([.. names]);
        }
        else
        {
            int inodeWidth = InodeWidth(names);
            foreach (NamedNode name in names)
            {
                WriteName(name, inodeWidth);
                output.WriteLine();
            }
        }
    }

    private int InodeWidth(IEnumerable<NamedNode> names)
    {
        ulong largest = 0;
        foreach (NamedNode name in style.ShowsInodes ? names : [])
        {
            largest = Math.Max(largest, name.Node);
        }
        return EntryFormat.Digits(largest);
    }

    private void WriteName(in NamedNode name, int inodeWidth)
    {
        if (style.ShowsInodes)
        {
            output.Write($"{EntryFormat.Number(name.Node).PadLeft(inodeWidth)} ");
        }
        if (style.Colors is { } colors)
        {
            colors.WriteName(output, tree, name);
        }
        else
        {
            output.WriteName(name.Name.Span);
        }
    }

    // Downwards, in as many columns as fit, each as wide as its widest name: ls(1)'s way of counting.
    private void WriteSideBySide(List<NamedNode> names)
    {
        const int Gap = 2, LeastWidth = 1 + Gap;
        int inodeWidth = InodeWidth(names), before = style.ShowsInodes ? inodeWidth + 1 : 0;
        int[] widths = [.. names.Select(name => before + CommandOutput.WidthOf(name.Name.Span))];
        int[] columns = [];
        int rows = names.Count;
        for (int count = Math.Min(names.Count, (style.Width + LeastWidth - 1) / LeastWidth); count > 0; count--)
        {
            rows = (names.Count + count - 1) / count;
            columns = new int[count];
            Array.Fill(columns, LeastWidth);
            for (int i = 0; i < widths.Length; i++)
            {
                int column = i / rows;
                columns[column] = Math.Max(columns[column], widths[i] + (column == count - 1 ? 0 : Gap));
            }
            if (columns.Sum() < style.Width)
            {
                break;
            }
        }
        for (int row = 0; row < rows; row++)
        {
            for (int i = row; i < names.Count; i += rows)
            {
                WriteName(names[i], inodeWidth);
                output.Write(i + rows < names.Count ? new string(' ', columns[i / rows] - widths[i]) : "\n");
            }
        }
    }
}
