using LazyMount.TestKit;

namespace LazyMount.MountTests.Simulation;

/// <summary>The oracle of a world: what every path of the image is, and every byte of its files.</summary>
internal sealed class WorldTree
{
    private readonly Dictionary<string, byte[]> _contents = [];
    private readonly Dictionary<string, HashSet<string>> _listings = [];

    /// <param name="directory">Where another program has unpacked the image.</param>
    /// <param name="directoryTime">The time of all directories in the tars: umoci changes it when it removes what a whiteout hides.</param>
    public WorldTree(string directory, string directoryTime)
    {
        Snapshot = TreeSnapshot.Take(directory);
        foreach (string each in Snapshot.Nodes.Where(node => node.Value.Type == 'd').Select(node => node.Key).ToList())
            Snapshot.Replace(each, node => node with { Mtime = directoryTime });
        foreach ((string path, TreeNode node) in Snapshot.Nodes)
        {
            if (node.Type == '-')
                _contents.Add(path, File.ReadAllBytes(directory + path));
            if (node.Type == 'd')
                _listings.Add(path, [".", ".."]);
            if (path != "/")
                _listings[path.LastIndexOf('/') is 0 ? "/" : path[..path.LastIndexOf('/')]].Add(path[(path.LastIndexOf('/') + 1)..]);
        }
        Paths = [.. Snapshot.Nodes.Keys];
        Files = [.. _contents.Keys.Where(path => _contents[path].Length > 0).Order(StringComparer.Ordinal)];
        Directories = [.. _listings.Keys.Order(StringComparer.Ordinal)];
        Links = [.. Paths.Where(path => this[path].Type == 'l')];
    }

    public TreeSnapshot Snapshot { get; }

    /// <summary>All paths, from "/" on.</summary>
    public string[] Paths { get; }

    /// <summary>The files that are not empty.</summary>
    public string[] Files { get; }

    public string[] Directories { get; }

    public string[] Links { get; }

    public TreeNode this[string path] => Snapshot[path];

    public byte[] Content(string path) => _contents[path];

    /// <summary>The names in a directory, "." and ".." among them.</summary>
    public IReadOnlySet<string> Listing(string path) => _listings[path];
}
