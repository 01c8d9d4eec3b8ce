using LazyMount.Files;
using LazyMount.Trees;

namespace LazyMount.Unpacking;

/// <summary>
/// Directories of a tree's part below a root on disk, opened one name at a time from the root and never through a symbolic link: no path of the
/// tree leads out of the root. Some stay open. Not thread-safe.
/// </summary>
/// <param name="paths">The directories and their names.</param>
/// <param name="root">The open root, where <see cref="TreePaths.Top"/> stands on disk; not owned.</param>
internal sealed class OpenDirectories(TreePaths paths, int root) : IDisposable
{
    private const int MaxOpen = 256;

    private readonly Dictionary<ulong, int> _open = [];
    private readonly Stack<ulong> _missing = new();
    private readonly byte[] _name = new byte[FileCalls.NameSize];

    /// <summary>A descriptor (O_PATH) of the directory, good until the next call; or -1 with errno set.</summary>
    public int Open(ulong node)
    {
        ulong known = node;
        while (known != paths.Top && !_open.ContainsKey(known))
        {
            _missing.Push(known);
            known = paths.ParentOf(known);
        }
        int directory = known == paths.Top ? root : _open[known];
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
        ulong keptNode = paths.Top;
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
        if (keptNode != paths.Top)
        {
            _open[keptNode] = kept;
        }
    }

    public void Dispose() => CloseAllBut(-1);
}
