using System.Runtime.InteropServices;
using System.Text;

namespace LazyMount.TestKit;

/// <summary>
/// The kernel's overlayfs over one directory a layer, each extracted by GNU tar. A whiteout becomes a 0/0 character device,
/// an opaque marker trusted.overlay.opaque. A marker beside an entry of its own layer hides only what lies lower: a
/// directory of that name is opaque, anything else covers it anyway. Directories that tar had to make up take the
/// attributes of the lower directory that is seen at that path.
/// <para>GNU tar follows symlinks of the same layer when they are relative and do not go up; it refuses to extract below others.</para>
/// </summary>
public sealed class OverlayMount : IDisposable
{
    private const int CharacterDevice = 0x2000;
    private readonly TemporaryDirectory _directory = new();
    private bool _mounted;

    /// <param name="layers">Uncompressed tars, lowest first; at most 500.</param>
    /// <param name="replacing">
    /// Layers in which something may take the place of a directory that holds files of the same layer, which GNU tar otherwise
    /// refuses. A directory entry then empties a directory that is there already.
    /// </param>
    public OverlayMount(IReadOnlyList<byte[]> layers, IReadOnlySet<int>? replacing = null)
    {
        Root = _directory.CreateDirectory("mnt");
        try
        {
            for (int layer = 0; layer < layers.Count; layer++)
            {
                Extract(layers[layer], layer, replacing?.Contains(layer) == true ? ["--recursive-unlink"] : []);
            }
            _directory.CreateDirectory("none"); // there must be two
            // Relative names: 500 of them still fit the page that mount(2) takes.
            string lower = string.Join(':', Enumerable.Range(0, layers.Count).Reverse());
            Tool.Shell("cd \"$1\" && mount -t overlay overlay -o \"ro,lowerdir=$2:none\" mnt", _directory.Path, lower).EnsureSuccess();
            _mounted = true;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Root { get; }

    public void Dispose()
    {
        if (_mounted)
        {
            _mounted = false;
            // Lazily: a process that another thread is just starting may hold a directory of ours open for a moment.
            Tool.Run("umount", "--lazy", Root).EnsureSuccess();
        }
        _directory.Dispose();
    }

    private void Extract(byte[] tar, int layer, string[] options)
    {
        string archive = _directory[$"{layer}.tar"], root = _directory.CreateDirectory($"{layer}");
        File.WriteAllBytes(archive, tar);
        Tool.Run("tar", ["-xpf", archive, "-C", root, "--same-owner", "--numeric-owner", "--delay-directory-restore", "--xattrs", "--xattrs-include=*", .. options]).EnsureSuccess();
        HashSet<string> listed = Listed(archive);
        var hiddenBelow = new HashSet<string>();
        foreach (string marker in Find(root, "-name", ".wh.*"))
        {
            if (Path.Exists(marker))
            {
                Convert(marker, hiddenBelow);
            }
        }
        // Directories that tar made for the sake of a marker in them, and that are themselves hidden.
        foreach (string hidden in hiddenBelow.OrderByDescending(path => path.Length).Where(hidden => !listed.Any(path => !path.Contains(".wh.", StringComparison.Ordinal) && $"{path}/".StartsWith(hidden[(root.Length + 1)..] + "/", StringComparison.Ordinal))))
        {
            Tool.Run("rm", "-rf", hidden).EnsureSuccess();
            MakeWhiteout(hidden);
        }
        // Children first: copying attributes sets times that making children would change.
        foreach (string made in Find(root, "-type", "d").OrderByDescending(path => path.Length))
        {
            string path = made[root.Length..].Trim('/');
            if (!listed.Contains(path))
            {
                CopyAttributes(made, path, layer, isHidden: hiddenBelow.Contains(made));
            }
        }
    }

    // The paths of a tar that are still those of their entries at its end: not what stood below something that was replaced.
    private static HashSet<string> Listed(string archive)
    {
        var listed = new HashSet<string>();
        foreach (string line in Tool.Run("tar", "-tf", archive, "--quoting-style=literal").EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string path = Clean(line);
            if (!line.EndsWith('/'))
            {
                listed.RemoveWhere(other => other.StartsWith(path + "/", StringComparison.Ordinal));
            }
            listed.Add(path);
        }
        return listed;
    }

    // Not .NET's own enumeration: that follows symbolic links.
    private static string[] Find(string root, params string[] test)
        => Tool.Run("find", [root, .. test, "-print0"]).EnsureSuccess().Output.Split('\0', StringSplitOptions.RemoveEmptyEntries);

    private static void Convert(string marker, HashSet<string> hiddenBelow)
    {
        string name = Path.GetFileName(marker), directory = Path.GetDirectoryName(marker)!;
        DateTime mtime = Directory.GetLastWriteTimeUtc(directory);
        if (Directory.Exists(marker) && new DirectoryInfo(marker).LinkTarget is null)
        {
            Directory.Delete(marker, recursive: true);
        }
        else
        {
            File.Delete(marker);
        }
        string hidden = Path.Combine(directory, name[4..]);
        if (name == ".wh..wh..opq")
        {
            SetOpaque(directory);
        }
        else if (!name.StartsWith(".wh..wh.", StringComparison.Ordinal) && name is not (".wh." or ".wh.." or ".wh..."))
        {
            if (Directory.Exists(hidden) && new DirectoryInfo(hidden).LinkTarget is null)
            {
                SetOpaque(hidden);
                hiddenBelow.Add(hidden);
            }
            else if (!Path.Exists(hidden) && new FileInfo(hidden).LinkTarget is null)
            {
                MakeWhiteout(hidden);
            }
        }
        Directory.SetLastWriteTimeUtc(directory, mtime);
    }

    private static void MakeWhiteout(string path)
    {
        if (Interop.MakeNode(Encoding.UTF8.GetBytes(path + "\0"), CharacterDevice, 0) != 0)
        {
            throw new IOException($"mknod {path}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    private void CopyAttributes(string made, string path, int layer, bool isHidden)
    {
        Tool.Run("chmod", "0755", made).EnsureSuccess();
        if (isHidden || (Path.GetDirectoryName(path) is { Length: > 0 } parent && IsHiddenBelow(_directory[$"{layer}"], parent, out _)))
        {
            return;
        }
        for (int lower = layer - 1; lower >= 0; lower--)
        {
            string candidate = Path.Combine(_directory[$"{lower}"], path);
            bool hides = IsHiddenBelow(_directory[$"{lower}"], path, out bool isDirectory);
            if (isDirectory)
            {
                Tool.Shell("""
                    chown --reference="$1" "$2" && chmod --reference="$1" "$2" &&
                    (getfattr -d -m - -e hex --absolute-names "$1" | grep -v '^trusted.overlay' | sed "1s|.*|# file: $2|" | setfattr --restore=-) && touch -r "$1" "$2"
                    """, candidate, made).EnsureSuccess();
                return;
            }
            if (hides)
            {
                return;
            }
        }
    }

    // Whether a layer hides what lower ones have at a path: by something that is no directory there or on the way, or by an
    // opaque directory. No symbolic link is followed. Also whether it has a directory there.
    private static bool IsHiddenBelow(string layer, string path, out bool isDirectory)
    {
        string at = layer;
        bool isOpaque = false;
        isDirectory = false;
        foreach (string name in path.Split('/'))
        {
            at = Path.Combine(at, name);
            if (!Directory.Exists(at) || new DirectoryInfo(at).LinkTarget is not null)
            {
                return isOpaque || Path.Exists(at) || new FileInfo(at).LinkTarget is not null;
            }
            isOpaque |= Interop.GetXattr(Encoding.UTF8.GetBytes(at + "\0"), "trusted.overlay.opaque\0"u8.ToArray(), new byte[1], 1) == 1;
        }
        isDirectory = true;
        return isOpaque;
    }

    private static void SetOpaque(string directory)
    {
        if (Interop.SetXattr(Encoding.UTF8.GetBytes(directory + "\0"), "trusted.overlay.opaque\0"u8.ToArray(), "y"u8.ToArray(), 1, 0) != 0)
        {
            throw new IOException($"setxattr {directory}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    private static string Clean(string path) => string.Join('/', path.Split('/').Where(part => part is not ("" or ".")));
}
