using LazyMount.Files;
using LazyMount.FileSystem;
using LazyMount.Trees;

namespace LazyMount.Unpacking;

/// <summary>
/// Directories of a tree below a root on disk, opened one name at a time from the root and never through a symbolic link: no path of the
/// tree leads out of the root. Some stay open. Not thread-safe.
/// </summary>
/// <param name="tree">The tree.</param>
/// <param name="paths">Where its names stand.</param>
/// <param name="root">The open root; not owned.</param>
internal sealed class OpenDirectories(ImageTree tree, TreePaths paths, int root) : IDisposable
{
    private const int MaxOpen = 256;

    private readonly Dictionary<int, int> _open = [];
    private readonly Stack<int> _missing = new();
    private readonly byte[] _name = new byte[FileCalls.NameSize];

    /// <summary>A descriptor (O_PATH) of the directory at a position, good until the next call; or -1 with errno set.</summary>
    public int Open(int position)
    {
        int known = position;
        while (known != 0 && !_open.ContainsKey(known))
        {
            _missing.Push(known);
            known = paths.ParentOf(known);
        }
        int directory = known == 0 ? root : _open[known];
        while (directory >= 0 && _missing.TryPop(out int next))
        {
            if (_open.Count >= MaxOpen)
            {
                CloseAllBut(directory);
            }
            directory = FileCalls.OpenDirectoryPath(directory, FileCalls.ZeroEnded(tree.NameAt(next), _name));
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
        int keptPosition = 0;
        foreach ((int position, int directory) in _open)
        {
            if (directory == kept)
            {
                keptPosition = position;
            }
            else
            {
                _ = FileCalls.Close(directory);
            }
        }
        _open.Clear();
        if (keptPosition != 0)
        {
            _open[keptPosition] = kept;
        }
    }

    public void Dispose() => CloseAllBut(-1);
}
