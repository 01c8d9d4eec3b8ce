using System.Text;
using LazyMount.Indexes.Model;

namespace LazyMount.Layers.Archives;

/// <summary>A file inside an archive: where its content stands in the tar.</summary>
internal readonly record struct ArchiveMember(long Offset, long Size);

/// <summary>
/// An archive's members by path. Symbolic and hard links lead where they would if the archive were unpacked into a root
/// directory of its own: never out of it. Of members with the same path the last counts, as it does for tar.
/// </summary>
internal sealed class ArchiveTable
{
    // Linux's own bound (path_resolution(7)).
    private const int MaxLinks = 40;
    private const int Root = 0;

    private readonly Dictionary<(int Parent, string Name), int> _nodes = [];
    private readonly Dictionary<int, int> _entryOfNode = [];
    private readonly LayerPaths _paths;
    private readonly LayerEntry[] _entries;
    private readonly ReadOnlyMemory<byte>[] _linkTargets;

    public ArchiveTable(LayerPaths paths, LayerEntry[] entries, ReadOnlyMemory<byte>[] linkTargets)
    {
        (_paths, _entries, _linkTargets) = (paths, entries, linkTargets);
        for (int node = 1; node < paths.Count; node++)
        {
            _nodes.TryAdd((paths.Parent(node), Encoding.UTF8.GetString(paths.Name(node))), node);
        }
        for (int i = 0; i < entries.Length; i++)
        {
            _entryOfNode[entries[i].Path] = i;
        }
    }

    /// <summary>The regular file that a path leads to; null when there is none.</summary>
    /// <exception cref="InvalidDataException">The links on the way go in a circle, or the file is not stored in one piece.</exception>
    public ArchiveMember? Find(string path)
    {
        var left = new Stack<string>();
        Push(left, path);
        int node = Root;
        int links = 0;
        while (true)
        {
            while (left.TryPop(out string? name))
            {
                if (name == "..")
                {
                    node = node == Root ? Root : _paths.Parent(node);
                    continue;
                }
                if (!_nodes.TryGetValue((node, name), out int child))
                {
                    return null;
                }
                if (_entryOfNode.TryGetValue(child, out int at) && _entries[at] is { Type: EntryType.Symlink } link)
                {
                    CountLink(path, ref links);
                    string target = Encoding.UTF8.GetString(_linkTargets[link.LinkTarget].Span);
                    node = target.StartsWith('/') ? Root : node;
                    Push(left, target);
                    continue;
                }
                node = child;
            }
            if (!_entryOfNode.TryGetValue(node, out int found))
            {
                return null;
            }
            LayerEntry entry = _entries[found];
            if (entry.Type == EntryType.File)
            {
                if (entry.SparseMap != 0)
                {
                    throw new InvalidDataException($"'{path}' is stored as a sparse file, without its holes (tar --sparse)");
                }
                return new ArchiveMember(entry.DataOffset, entry.Size);
            }
            if (entry.Type != EntryType.HardLink)
            {
                return null;
            }
            CountLink(path, ref links);
            for (node = entry.LinkPath; node != Root; node = _paths.Parent(node))
            {
                left.Push(Encoding.UTF8.GetString(_paths.Name(node)));
            }
        }
    }

    /// <summary>The one directory at the top in which there is a file of this name, or null: where a whole folder was put into the archive.</summary>
    public string? FindDirectoryOf(string name)
    {
        for (int node = 1; node < _paths.Count; node++)
        {
            if (_paths.Parent(node) == Root && _nodes.ContainsKey((node, name)))
            {
                return Encoding.UTF8.GetString(_paths.Name(node));
            }
        }
        return null;
    }

    private static void Push(Stack<string> left, string path)
    {
        string[] names = path.Split('/');
        for (int i = names.Length - 1; i >= 0; i--)
        {
            if (names[i] is not ("" or "."))
            {
                left.Push(names[i]);
            }
        }
    }

    private static void CountLink(string path, ref int links)
    {
        if (++links > MaxLinks)
        {
            throw new InvalidDataException($"the links from '{path}' are circular");
        }
    }
}
