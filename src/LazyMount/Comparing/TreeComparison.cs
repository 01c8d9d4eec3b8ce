using LazyMount.FileSystem;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Comparing;

internal enum DifferenceKind
{
    Added,
    Deleted,
    Changed,

    /// <summary>A regular file with other names around the same content.</summary>
    Renamed,
}

/// <summary>One name on one side of a difference.</summary>
/// <param name="Node">The node.</param>
/// <param name="Path">Its absolute path.</param>
internal readonly record struct ComparedEntry(ulong Node, byte[] Path);

/// <summary>A name that is in one tree only, or not the same in both.</summary>
/// <param name="Kind">Which.</param>
/// <param name="Changes">What differs of one that is in both.</param>
/// <param name="Before">In the first tree; null for one that was added.</param>
/// <param name="After">In the second tree; null for one that was deleted.</param>
internal readonly record struct Difference(DifferenceKind Kind, Changes Changes, ComparedEntry? Before, ComparedEntry? After);

/// <summary>
/// Compares two trees. A first walk through both finds what cannot be told without reading; then these files are read; then a second walk tells
/// the differences one by one. So memory is only taken for what is read, and for deleted and added files if renames are looked for.
/// </summary>
internal sealed class TreeComparison
{
    private readonly ComparedTree _before, _after;
    private readonly Changes _ignored;
    private readonly KnownContent _known;
    private readonly ContentComparison _contents;
    private readonly RenameSearch? _renames;
    private readonly HashSet<(ulong Before, ulong After)> _different = [];

    /// <param name="before">The first tree.</param>
    /// <param name="after">The second tree.</param>
    /// <param name="ignored">What is not looked at. Without <see cref="Changes.Content"/> nothing is read.</param>
    /// <param name="findsRenames">Whether deleted and added files are held against each other.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public TreeComparison(ComparedTree before, ComparedTree after, Changes ignored, bool findsRenames, CancellationToken cancellationToken)
    {
        (_before, _after, _ignored) = (before, after, ignored);
        _known = new KnownContent(before.Opened.Image, after.Opened.Image);
        _contents = new ContentComparison(before, after);
        _renames = findsRenames ? new RenameSearch() : null;
        FindWhatMustBeRead(cancellationToken);
        _renames?.Match(_known, before, after, _contents, ReadsContent ? RenameSearch.MaxContent : 0);
    }

    /// <summary>Bytes that are read at most.</summary>
    public long ContentSize => _contents.ContentSize;

    /// <summary>Renames were to be found, but too many files were deleted or added.</summary>
    public bool HasGivenUpRenames => _renames is { IsGivenUp: true };

    private bool ReadsContent => (_ignored & Changes.Content) == 0;

    /// <summary>Reads what must be read.</summary>
    /// <exception cref="Cli.CommandException">A file cannot be read.</exception>
    public async Task ReadAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        HashSet<(ulong Before, ulong After)> different = await _contents.FindDifferentAsync(progress, cancellationToken);
        _renames?.Settle(different);
        _different.UnionWith(different);
    }

    /// <summary>All differences in the order of the trees, each directory followed by what is in it. For after <see cref="ReadAsync"/>.</summary>
    public IEnumerable<Difference> Differences()
    {
        int deleted = 0, added = 0;
        for (var walk = new PairWalk(_before, _after); walk.MoveNext();)
        {
            if (walk.After == TreePaths.NoNode)
            {
                if (!HasContent(_before, walk.Before, out _) || _renames?.IsMoved(deleted++) != true)
                {
                    yield return new Difference(DifferenceKind.Deleted, Changes.None, new ComparedEntry(walk.Before, walk.BeforePath), null);
                }
            }
            else if (walk.Before == TreePaths.NoNode)
            {
                var entry = new ComparedEntry(walk.After, walk.AfterPath);
                yield return HasContent(_after, walk.After, out _) && _renames?.OldOf(added++, _before) is { } old
                    ? new Difference(DifferenceKind.Renamed, FindChanges(old.Node, walk.After), old, entry)
                    : new Difference(DifferenceKind.Added, Changes.None, null, entry);
            }
            else if (FindChanges(walk.Before, walk.After) is var changes && changes != Changes.None)
            {
                yield return new Difference(DifferenceKind.Changed, changes, new ComparedEntry(walk.Before, walk.BeforePath), new ComparedEntry(walk.After, walk.AfterPath));
            }
        }
    }

    private void FindWhatMustBeRead(CancellationToken cancellationToken)
    {
        for (var walk = new PairWalk(_before, _after); walk.MoveNext();)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (walk.After == TreePaths.NoNode)
            {
                if (HasContent(_before, walk.Before, out NodeAttributes deleted))
                {
                    _renames?.AddDeleted(deleted, walk.BeforeDirectory, walk.Name, _known.SharedPlaceBefore(walk.Before));
                }
            }
            else if (walk.Before == TreePaths.NoNode)
            {
                if (HasContent(_after, walk.After, out NodeAttributes added))
                {
                    _renames?.AddAdded(added, walk.AfterDirectory, walk.Name, _known.SharedPlaceAfter(walk.After));
                }
            }
            else if (ReadsContent && HasContent(_before, walk.Before, out NodeAttributes before) && HasContent(_after, walk.After, out NodeAttributes after) && before.Size == after.Size)
            {
                switch (_known.AreEqual(walk.Before, walk.After))
                {
                    case null:
                        _contents.Add(before, after);
                        break;
                    case false:
                        _different.Add((walk.Before, walk.After));
                        break;
                }
            }
        }
    }

    private Changes FindChanges(ulong before, ulong after)
    {
        (ImageTree old, ImageTree current) = (_before.Opened.Tree, _after.Opened.Tree);
        Changes changes = NodeComparison.Find(old, old.Attributes(before), current, current.Attributes(after));
        return (_different.Contains((before, after)) ? changes | Changes.Content : changes) & ~_ignored;
    }

    private static bool HasContent(ComparedTree side, ulong node, out NodeAttributes attributes)
    {
        attributes = side.Opened.Tree.Attributes(node);
        return FileMode.IsRegular(attributes.Mode) && attributes.Size > 0;
    }
}
