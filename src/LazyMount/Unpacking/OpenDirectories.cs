using LazyMount.Files;
using LazyMount.FileSystem;
using LazyMount.Trees;

namespace LazyMount.Unpacking;

/// <summary>
/// Directories of a tree below a root on disk, opened one name at a time from the root and never through a symbolic link: no path of the
/// tree leads out of the root. Some stay open. Not thread-safe.
/// </summary>
/// <param name="tree">The tree.</param>
/// <param name="paths">The names of its nodes.</param>
/// <param name="root">The open root; not owned.</param>
internal sealed class OpenDirectories(ImageTree tree, TreePaths paths, int root) : IDisposable
{
    private const int MaxOpen = 256;

    private readonly Dictionary<ulong, int> _open = [];
    private readonly Stack<ulong> _missing = new();
    private readonly byte[] _name = new byte[FileCalls.NameSize];

    /// <summary>A descriptor (O_PATH) of the directory, good until the next call; or -1 with errno set.</summary>
    public int Open(ulong node)
    {
        ulong known = node;
        while (known != ImageTree.RootId && !_open.ContainsKey(known))
        {
            _missing.Push(known);
            known = tree.ParentOf(known);
        }
        int directory = known == ImageTree.RootId ? root : _open[known];
        while (directory >= 0 && _missing.TryPop(out ulong next))
        {
            if (_open.Count >= MaxOpen)
            {
                CloseAllBut(directory);
            }
            directory = FileCalls.OpenDirectoryPath(directory, FileCalls.ZeroEnded(paths.NameOf(next), _name));
            if (directory >= 0)
            {
                _open[next] = directory;
            }
        }
        _missing.Clear();
        return directory;
    }

    private void CloseAllBut(int kept)
    {
        ulong keptNode = ImageTree.RootId;
        foreach ((ulong node, int directory) in _open)
        {
            if (directory == kept)
            {
                keptNode = node;
            }
            else
            {
                _ = FileCalls.Close(directory);
            }
        }
        _open.Clear();
        if (keptNode != ImageTree.RootId)
        {
            _open[keptNode] = kept;
        }
    }

    public void Dispose() => CloseAllBut(-1);
}
