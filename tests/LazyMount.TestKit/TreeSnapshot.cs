using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.TestKit;

/// <summary>
/// Everything that lstat, readlink, read and the xattr calls show below a directory, by path: what two trees are
/// compared by. Paths begin with "/"; "/" is the directory itself.
/// </summary>
public sealed class TreeSnapshot
{
    private const int CloseOnExec = 0x80000;
    private const int NoSuchFile = 2;
    private const int MaxQuoted = 48;

    private readonly SortedDictionary<string, TreeNode> _nodes = new(StringComparer.Ordinal);
    private readonly Dictionary<(uint, uint, ulong), List<string>> _linked = [];

    private readonly bool _ignoreGhosts;

    private TreeSnapshot(bool ignoreGhosts) => _ignoreGhosts = ignoreGhosts;

    public IReadOnlyDictionary<string, TreeNode> Nodes => _nodes;

    public TreeNode this[string path] => _nodes[path];

    /// <param name="directory">Where the tree stands.</param>
    /// <param name="ignoreGhosts">
    /// Leave out names that are listed and not there. overlayfs lists a whiteout that stands in a directory with nothing
    /// below; nobody else may.
    /// </param>
    public static TreeSnapshot Take(string directory, bool ignoreGhosts = false)
    {
        var snapshot = new TreeSnapshot(ignoreGhosts);
        byte[] root = Encoding.UTF8.GetBytes(directory.TrimEnd('/'));
        snapshot.Add(root, "/");
        foreach (List<string> names in snapshot._linked.Values)
        {
            string first = names.Min(StringComparer.Ordinal)!;
            foreach (string name in names)
            {
                snapshot._nodes[name] = snapshot._nodes[name] with { FirstName = first };
            }
        }
        return snapshot;
    }

    /// <summary>Changes what is expected where the specs leave it open, as the mtime of a directory that no entry describes.</summary>
    public void Replace(string path, Func<TreeNode, TreeNode> change) => _nodes[path] = change(_nodes[path]);

    /// <summary>The differences, one a line, at most <paramref name="limit"/>; empty when the trees are equal.</summary>
    public string Difference(TreeSnapshot actual, int limit = 20)
    {
        var lines = new List<string>();
        foreach ((string path, TreeNode expected) in _nodes)
        {
            if (!actual._nodes.TryGetValue(path, out TreeNode? node))
            {
                lines.Add($"missing   {path}: {expected}");
            }
            else if (node != expected)
            {
                lines.Add($"expected  {path}: {expected}\n     got  {path}: {node}");
            }
        }
        lines.AddRange(actual._nodes.Where(node => !_nodes.ContainsKey(node.Key)).Select(node => $"too much  {node.Key}: {node.Value}"));
        IEnumerable<string> shown = lines.Take(limit);
        return string.Join('\n', lines.Count > limit ? shown.Append($"… {lines.Count} differences in all") : shown);
    }

    private void Add(byte[] location, string path)
    {
        byte[] terminated = [.. location, 0];
        if (Interop.GetStatx(Interop.AtFdCwd, terminated, Interop.AtSymlinkNoFollow, Interop.StatxBasicStats, out Interop.Statx stat) != 0)
        {
            if (_ignoreGhosts && Marshal.GetLastPInvokeError() == NoSuchFile)
            {
                return;
            }
            throw new IOException($"lstat {path}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
        uint type = stat.Mode & 0xF000u;
        bool isFile = type == 0x8000, isDirectory = type == 0x4000;
        _nodes.Add(path, new TreeNode
        {
            Mode = stat.Mode,
            Uid = stat.Uid,
            Gid = stat.Gid,
            Size = isDirectory ? 0 : stat.Size,
            Mtime = string.Create(CultureInfo.InvariantCulture, $"{stat.ModificationTime.Seconds}.{stat.ModificationTime.Nanoseconds:D9}"),
            Device = type is 0x2000 or 0x6000 ? $"{stat.RdevMajor}:{stat.RdevMinor}" : "",
            LinkTarget = type == 0xA000 ? ReadLink(terminated) : "",
            Content = isFile ? Hash(terminated) : "",
            FirstName = path,
            LinkCount = isDirectory ? 0 : stat.LinkCount,
            Xattrs = ReadXattrs(terminated),
        });
        if (!isDirectory && stat.LinkCount > 1)
        {
            var identity = (stat.DevMajor, stat.DevMinor, stat.Inode);
            if (!_linked.TryGetValue(identity, out List<string>? names))
            {
                _linked.Add(identity, names = []);
            }
            names.Add(path);
        }
        if (isDirectory)
        {
            foreach (byte[] name in ReadDirectory(terminated))
            {
                Add([.. location, (byte)'/', .. name], (path == "/" ? "/" : path + "/") + Encoding.Latin1.GetString(name));
            }
        }
    }

    private static unsafe List<byte[]> ReadDirectory(byte[] path)
    {
        nint directory = Interop.OpenDirectory(path);
        if (directory == 0)
        {
            throw new IOException($"opendir {Encoding.Latin1.GetString(path)}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
        var names = new List<byte[]>();
        // struct dirent: d_ino (8), d_off (8), d_reclen (2), d_type (1), d_name
        for (byte* entry; (entry = Interop.ReadDirectory(directory)) != null;)
        {
            byte[] name = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(entry + 19).ToArray();
            if (!name.AsSpan().SequenceEqual("."u8) && !name.AsSpan().SequenceEqual(".."u8))
            {
                names.Add(name);
            }
        }
        int error = Marshal.GetLastPInvokeError();
        _ = Interop.CloseDirectory(directory);
        return error == 0 ? names : throw new IOException($"readdir {Encoding.Latin1.GetString(path)}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    private static string ReadLink(byte[] path)
    {
        byte[] buffer = new byte[8192];
        nint length = Interop.ReadLink(path, buffer, buffer.Length);
        return length < 0 ? Marshal.GetLastPInvokeErrorMessage() : Encoding.Latin1.GetString(buffer, 0, (int)length);
    }

    private static string Hash(byte[] path)
    {
        int fd = Interop.Open(path, CloseOnExec);
        if (fd < 0)
        {
            return $"open: {Marshal.GetLastPInvokeErrorMessage()}";
        }
        using var handle = new SafeFileHandle(fd, ownsHandle: true);
        try
        {
            using var stream = new FileStream(handle, FileAccess.Read, bufferSize: 0);
            byte[] start = new byte[MaxQuoted + 1];
            int length = stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
            if (length <= MaxQuoted)
            {
                return TreeText.Quote(start.AsSpan(0, length));
            }
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (byte[] buffer = start; length > 0; length = stream.Read(buffer = new byte[64 << 10]))
            {
                hash.AppendData(buffer, 0, length);
            }
            return "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset());
        }
        catch (IOException e)
        {
            return $"read: {e.Message}";
        }
    }

    private static string ReadXattrs(byte[] path)
    {
        byte[] list = new byte[65536];
        nint length = Interop.ListXattr(path, list, list.Length);
        if (length <= 0)
        {
            return "";
        }
        var attributes = new List<string>();
        foreach (string name in Encoding.Latin1.GetString(list, 0, (int)length - 1).Split('\0'))
        {
            byte[] value = new byte[65536];
            nint size = Interop.GetXattr(path, [.. Encoding.Latin1.GetBytes(name), 0], value, value.Length);
            attributes.Add($"{name}={(size < 0 ? Marshal.GetLastPInvokeErrorMessage() : Convert.ToHexStringLower(value, 0, (int)size))}");
        }
        attributes.Sort(StringComparer.Ordinal);
        return string.Join(' ', attributes);
    }
}
