using System.Globalization;
using System.Text;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Comparing;

/// <summary>How many names differ in each directory directly below the root, and the bytes of these files.</summary>
internal sealed class DifferenceSums(ImageTree before, ImageTree after)
{
    private const int Kinds = (int)DifferenceKind.Renamed + 1;

    private readonly SortedDictionary<string, Sum[]> _directories = new(StringComparer.Ordinal); // the key holds bytes as Latin-1
    private readonly Sum[] _total = new Sum[Kinds];

    private struct Sum
    {
        public long Count;

        /// <summary>Of deleted files before, of others after.</summary>
        public long Bytes;

        public void Add(long bytes)
        {
            Count++;
            Bytes += bytes;
        }
    }

    /// <summary>Counts a difference.</summary>
    public void Add(Difference difference)
    {
        (ImageTree tree, ComparedEntry entry) = difference.After is { } current ? (after, current) : (before, difference.Before!.Value);
        ReadOnlySpan<byte> path = entry.Path;
        // What stands in the root itself is the root's, unless it is a directory.
        int end = path[1..].IndexOf((byte)'/') + 1;
        string directory = Encoding.Latin1.GetString(end > 0 ? path[..end] : FileMode.IsDirectory(tree.Mode(entry.Node)) ? path : path[..1]);
        if (!_directories.TryGetValue(directory, out Sum[]? sums))
        {
            _directories[directory] = sums = new Sum[Kinds];
        }
        long bytes = FileMode.IsRegular(tree.Mode(entry.Node)) ? tree.Size(entry.Node) : 0;
        sums[(int)difference.Kind].Add(bytes);
        _total[(int)difference.Kind].Add(bytes);
    }

    /// <summary>Writes a table.</summary>
    public void Write(CommandOutput output)
    {
        var table = new TextTable("DIRECTORY", "ADDED", "SIZE", "DELETED", "SIZE", "CHANGED", "SIZE", "RENAMED") { RightAligned = [1, 2, 3, 4, 5, 6, 7], Cuttable = [0] };
        foreach ((string directory, Sum[] sums) in _directories)
        {
            AddRow(table, ImagePathText.Decode(Encoding.Latin1.GetBytes(directory)), sums, output);
        }
        AddRow(table, "total", _total, output);
        table.Write(output);
    }

    /// <summary>Writes one document.</summary>
    public void WriteJson(CommandOutput output)
        => output.WriteDocument(
            new DifferenceSumsListing
            {
                Directories = [.. _directories.Select(directory => Describe(Encoding.Latin1.GetBytes(directory.Key), directory.Value))],
                Total = new ChangeSumsListing
                {
                    Added = Of(_total, DifferenceKind.Added),
                    Deleted = Of(_total, DifferenceKind.Deleted),
                    Changed = Of(_total, DifferenceKind.Changed),
                    Renamed = Of(_total, DifferenceKind.Renamed),
                },
            },
            ListingJson.Default.DifferenceSumsListing);

    private static void AddRow(TextTable table, string name, Sum[] sums, CommandOutput output)
        => table.Add([name, .. sums.SelectMany((sum, kind) => kind == (int)DifferenceKind.Renamed ? (string[])[Number(sum.Count)] : [Number(sum.Count), output.Size(sum.Bytes)])]);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static DirectorySumsListing Describe(byte[] path, Sum[] sums) => new()
    {
        Path = EntryListing.Text(path),
        PathBase64 = EntryListing.Exact(path),
        Added = Of(sums, DifferenceKind.Added),
        Deleted = Of(sums, DifferenceKind.Deleted),
        Changed = Of(sums, DifferenceKind.Changed),
        Renamed = Of(sums, DifferenceKind.Renamed),
    };

    private static NameSumListing Of(Sum[] sums, DifferenceKind kind) => new() { Names = sums[(int)kind].Count, Size = sums[(int)kind].Bytes };
}
