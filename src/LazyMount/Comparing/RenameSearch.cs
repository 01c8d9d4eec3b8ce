using System.Runtime.InteropServices;
using LazyMount.FileSystem;

namespace LazyMount.Comparing;

/// <summary>
/// Finds deleted files that were added again at another place: by the bytes of a layer that both images have, or else by their size and the
/// last component of their path. Only a file that matches one other is taken. What matches by size and name alone must be read to be sure, and
/// that is done within a bound, for nobody needs it to tell whether two images differ.
/// <para>A file has a number: how many deleted, or added, files that are not empty the walk came to before it. Two walks give the same ones.</para>
/// </summary>
internal sealed class RenameSearch
{
    /// <summary>Files of each side. With more than that, renames are not looked for.</summary>
    internal const int MaxFiles = 200_000;

    /// <summary>Bytes that are read at most to be sure, of each side.</summary>
    internal const long MaxContent = 128 << 20;

    private readonly List<MovedFile> _deleted = [], _added = [];
    private readonly List<byte> _names = [];
    private readonly Dictionary<int, MovedFile> _oldOf = []; // by the number of an added file
    private readonly HashSet<int> _gone = []; // numbers of deleted files that are somewhere else
    private List<(MovedFile Deleted, MovedFile Added)> _unsure = [];

    /// <summary>A name of a file.</summary>
    /// <param name="Number">Its number.</param>
    /// <param name="Node">The file.</param>
    /// <param name="Directory">Where the name stands.</param>
    /// <param name="Size">Bytes of content.</param>
    /// <param name="Place">Where its bytes stand in a layer that both images have; null for others.</param>
    /// <param name="NameAt">Where the name begins in <see cref="_names"/>.</param>
    /// <param name="NameLength">And how long it is.</param>
    internal readonly record struct MovedFile(int Number, ulong Node, ulong Directory, long Size, (int Layer, long Offset)? Place, int NameAt, int NameLength);

    /// <summary>There are too many files to look for renames.</summary>
    public bool IsGivenUp { get; private set; }

    /// <summary>Adds a deleted file.</summary>
    public void AddDeleted(in NodeAttributes file, ulong directory, ReadOnlySpan<byte> name, (int Layer, long Offset)? place) => Add(_deleted, file, directory, name, place);

    /// <summary>Adds an added file.</summary>
    public void AddAdded(in NodeAttributes file, ulong directory, ReadOnlySpan<byte> name, (int Layer, long Offset)? place) => Add(_added, file, directory, name, place);

    /// <summary>Matches the files. What must be read, within a bound, goes to the comparison of contents.</summary>
    public void Match(KnownContent known, ComparedTree before, ComparedTree after, ContentComparison contents, long maxContent)
    {
        if (IsGivenUp)
        {
            return;
        }
        foreach ((MovedFile deleted, MovedFile added) in Pairs(file => file.Place is not null, ComparePlaces))
        {
            Take(deleted, added);
        }
        long left = maxContent;
        foreach ((MovedFile deleted, MovedFile added) in Pairs(_ => true, CompareSizesAndNames).OrderBy(pair => pair.Added.Number))
        {
            switch (known.AreEqual(deleted.Node, added.Node))
            {
                case true:
                    Take(deleted, added);
                    break;
                case null when deleted.Size <= left:
                    left -= deleted.Size;
                    contents.Add(before.Opened.Tree.Attributes(deleted.Node), after.Opened.Tree.Attributes(added.Node));
                    _unsure.Add((deleted, added));
                    break;
            }
        }
    }

    /// <summary>Drops the matches whose contents were found to differ. What was added is not needed any more.</summary>
    public void Settle(HashSet<(ulong Before, ulong After)> different)
    {
        foreach ((MovedFile deleted, MovedFile added) in _unsure.Where(pair => !different.Contains((pair.Deleted.Node, pair.Added.Node))))
        {
            Take(deleted, added);
        }
        _unsure = [];
        _deleted.Clear();
        _added.Clear();
    }

    /// <summary>Whether a deleted file was added again at another place.</summary>
    public bool IsMoved(int deleted) => _gone.Contains(deleted);

    /// <summary>The deleted file that an added one was; null when it is new.</summary>
    public ComparedEntry? OldOf(int added, ComparedTree before)
    {
        if (!_oldOf.TryGetValue(added, out MovedFile old))
        {
            return null;
        }
        byte[] directory = before.Opened.Tree.PathOf(old.Directory);
        return new ComparedEntry(old.Node, directory is [(byte)'/'] ? [.. directory, .. NameOf(old)] : [.. directory, (byte)'/', .. NameOf(old)]);
    }

    private void Add(List<MovedFile> files, in NodeAttributes file, ulong directory, ReadOnlySpan<byte> name, (int Layer, long Offset)? place)
    {
        if (files.Count == MaxFiles)
        {
            IsGivenUp = true;
        }
        if (IsGivenUp)
        {
            _deleted.Clear();
            _added.Clear();
            return;
        }
        files.Add(new MovedFile(files.Count, file.Inode, directory, file.Size, place, _names.Count, name.Length));
        _names.AddRange(name);
    }

    private void Take(MovedFile deleted, MovedFile added)
    {
        _oldOf[added.Number] = deleted;
        _gone.Add(deleted.Number);
    }

    // Those that are the only ones of their kind on each side, and have not been matched yet.
    private List<(MovedFile Deleted, MovedFile Added)> Pairs(Func<MovedFile, bool> isWanted, Comparison<MovedFile> compare)
    {
        List<MovedFile> deleted = [.. _deleted.Where(file => isWanted(file) && !_gone.Contains(file.Number))];
        List<MovedFile> added = [.. _added.Where(file => isWanted(file) && !_oldOf.ContainsKey(file.Number))];
        deleted.Sort(compare);
        added.Sort(compare);
        List<(MovedFile Deleted, MovedFile Added)> pairs = [];
        for (int i = 0, j = 0; i < deleted.Count && j < added.Count;)
        {
            int order = compare(deleted[i], added[j]);
            int nextDeleted = order > 0 ? i : EndOf(deleted, i), nextAdded = order < 0 ? j : EndOf(added, j);
            if (order == 0 && nextDeleted == i + 1 && nextAdded == j + 1)
            {
                pairs.Add((deleted[i], added[j]));
            }
            (i, j) = (nextDeleted, nextAdded);
        }
        return pairs;

        int EndOf(List<MovedFile> files, int start)
        {
            int end = start + 1;
            while (end < files.Count && compare(files[start], files[end]) == 0)
            {
                end++;
            }
            return end;
        }
    }

    private static int ComparePlaces(MovedFile one, MovedFile other)
        => (one.Place!.Value, one.Size).CompareTo((other.Place!.Value, other.Size));

    private int CompareSizesAndNames(MovedFile one, MovedFile other)
        => one.Size.CompareTo(other.Size) is not 0 and var order ? order : NameOf(one).SequenceCompareTo(NameOf(other));

    private ReadOnlySpan<byte> NameOf(MovedFile file) => CollectionsMarshal.AsSpan(_names).Slice(file.NameAt, file.NameLength);
}
