using System.Security.Cryptography;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Trees;

namespace LazyMount.Comparing;

/// <summary>
/// Reads pairs of files of one size and finds those that differ. Small files are hashed in the order of the tars, first those of one image and
/// then those of the other, so that each span is fetched and decoded once, however the files are sorted. Large ones are read in step, up to
/// the first byte that differs.
/// </summary>
internal sealed class ContentComparison
{
    /// <summary>Bytes from which on a file is large: it fills two spans of ours, so reading it alone decodes little that is of other files.</summary>
    internal const long LargeFile = 4 << 20;

    private const int ReadSize = 1 << 20;

    private static readonly byte[] s_zeros = new byte[64 << 10];

    private readonly ComparedTree _before, _after;
    private readonly List<(ulong Before, ulong After)> _small = [], _large = [];
    private readonly HashSet<(ulong Before, ulong After)> _linked = []; // pairs that may come again, by another name
    private long _done;

    public ContentComparison(ComparedTree before, ComparedTree after) => (_before, _after) = (before, after);

    /// <summary>Bytes that are read at most.</summary>
    public long ContentSize { get; private set; }

    /// <summary>Adds two regular files of one size.</summary>
    public void Add(in NodeAttributes before, in NodeAttributes after)
    {
        (ulong Before, ulong After) pair = (before.Inode, after.Inode);
        if (before.LinkCount > 1 && after.LinkCount > 1 && !_linked.Add(pair))
        {
            return;
        }
        ContentSize += 2 * before.Size;
        (before.Size < LargeFile ? _small : _large).Add(pair);
    }

    /// <summary>Reads all pairs and returns those that differ. <paramref name="progress"/> is told the bytes that are done.</summary>
    /// <exception cref="CommandException">A file cannot be read.</exception>
    public async Task<HashSet<(ulong Before, ulong After)>> FindDifferentAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        var different = new HashSet<(ulong Before, ulong After)>();
        (ulong Before, ulong After)[] small = [.. _small];
        ulong[] before = [.. small.Select(pair => pair.Before)];
        Array.Sort(before, small);
        var hashes = new ContentHash[small.Length];
        await HashAsync(_before, before, (i, hash) => hashes[i] = hash, progress, cancellationToken);

        int[] order = [.. Enumerable.Range(0, small.Length)];
        ulong[] after = [.. small.Select(pair => pair.After)];
        Array.Sort(after, order);
        await HashAsync(_after, after, (i, hash) =>
        {
            if (hashes[order[i]] != hash)
            {
                different.Add(small[order[i]]);
            }
        }, progress, cancellationToken);

        foreach ((ulong Before, ulong After) pair in _large)
        {
            if (!await AreEqualAsync(pair.Before, pair.After, progress, cancellationToken))
            {
                different.Add(pair);
            }
        }
        return different;
    }

    /// <summary>Hashes files, each once. <paramref name="take"/> is told the hash of each place in the array.</summary>
    /// <param name="side">Whose files they are.</param>
    /// <param name="sorted">The files, sorted by their ids.</param>
    /// <param name="take">Takes the place and the hash.</param>
    /// <param name="progress">Told the bytes that are done.</param>
    /// <param name="cancellationToken">Gives up.</param>
    private async Task HashAsync(ComparedTree side, ulong[] sorted, Action<int, ContentHash> take, Action<long> progress, CancellationToken cancellationToken)
    {
        ImageTree tree = side.Opened.Tree;
        using var files = new FilesInTarOrder(side.Opened.Image, sorted.Where((node, i) => i == 0 || node != sorted[i - 1]));
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (ulong file in files.Files)
        {
            try
            {
                long offset = 0;
                foreach ((long start, long at, long length) in tree.Extents(file))
                {
                    AppendZeros(hash, start - offset);
                    await files.ReadAsync(tree.LayerOf(file), at, length, (bytes, _) => hash.AppendData(bytes), cancellationToken);
                    offset = start + length;
                }
                AppendZeros(hash, tree.Size(file) - offset);
            }
            catch (Exception e) when (Failure.IsExpected(e) || e is InvalidDataException)
            {
                throw new CommandException($"cannot read '{NameOf(tree, file)}' in '{side.Opened.Image.Image.Reference}': {e.Message.TrimEnd('.')}", Failure.ExitCodeOf(e), e);
            }
            ContentHash its = ContentHash.Finish(hash);
            for (int i = FirstOf(sorted, file); i < sorted.Length && sorted[i] == file; i++)
            {
                take(i, its);
            }
            progress(_done += tree.Size(file));
        }
    }

    private async Task<bool> AreEqualAsync(ulong before, ulong after, Action<long> progress, CancellationToken cancellationToken)
    {
        (ImageTree old, ImageTree current) = (_before.Opened.Tree, _after.Opened.Tree);
        FileData oldData = new(), currentData = new();
        try
        {
            long size = old.Size(before);
            for (long offset = 0; offset < size;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                (long oldAt, long oldEnd) = old.Extent(before, offset);
                (long currentAt, long currentEnd) = current.Extent(after, offset);
                long end = Math.Min(oldEnd, currentEnd);
                if (oldAt >= 0 || currentAt >= 0) // else both have a hole
                {
                    int length = (int)Math.Min(ReadSize, end - offset);
                    await Task.WhenAll(
                        _before.Opened.ReadAsync(before, offset, length, oldData, NameOf(old, before), cancellationToken),
                        _after.Opened.ReadAsync(after, offset, length, currentData, NameOf(current, after), cancellationToken));
                    if (!AreEqual(oldData, currentData))
                    {
                        return false;
                    }
                    end = offset + length;
                }
                progress(_done += 2 * (end - offset));
                offset = end;
            }
            return true;
        }
        finally
        {
            oldData.Clear();
            currentData.Clear();
        }
    }

    // The pieces of the one end elsewhere than those of the other.
    private static bool AreEqual(FileData before, FileData after)
    {
        int piece = 0, start = 0;
        for (int i = 0; i < before.Count; i++)
        {
            for (ReadOnlySpan<byte> rest = before[i]; !rest.IsEmpty;)
            {
                if (piece == after.Count)
                {
                    return false;
                }
                ReadOnlySpan<byte> other = after[piece][start..];
                int length = Math.Min(rest.Length, other.Length);
                if (!rest[..length].SequenceEqual(other[..length]))
                {
                    return false;
                }
                rest = rest[length..];
                (piece, start) = length == other.Length ? (piece + 1, 0) : (piece, start + length);
            }
        }
        return before.Length == after.Length;
    }

    private static string NameOf(ImageTree tree, ulong file) => ImagePathText.Decode(tree.PathOf(file));

    private static int FirstOf(ulong[] sorted, ulong node)
    {
        int low = 0, high = sorted.Length;
        while (low < high)
        {
            int middle = low + ((high - low) >> 1);
            (low, high) = sorted[middle] < node ? (middle + 1, high) : (low, middle);
        }
        return low;
    }

    private static void AppendZeros(IncrementalHash hash, long count)
    {
        for (; count > 0; count -= s_zeros.Length)
        {
            hash.AppendData(s_zeros.AsSpan(0, (int)Math.Min(count, s_zeros.Length)));
        }
    }

    /// <summary>SHA-256: contents are the images', and somebody may have made two of them alike.</summary>
    private readonly record struct ContentHash(UInt128 First, UInt128 Second)
    {
        public static ContentHash Finish(IncrementalHash hash)
        {
            Span<byte> bytes = stackalloc byte[SHA256.HashSizeInBytes];
            hash.GetHashAndReset(bytes);
            return new ContentHash(System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(bytes), System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(bytes[16..]));
        }
    }
}
