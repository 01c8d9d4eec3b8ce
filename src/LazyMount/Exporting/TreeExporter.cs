using System.Globalization;
using System.Text;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Exporting;

/// <summary>
/// Writes a tree, or a part of one, as one tar. The same tree gives the same bytes. First come the files in the order of the layers' tars, each
/// followed by its further names, and no directory: all who unpack make those that are missing. Then directories from the root
/// down, each followed by the links, pipes and devices in it. So GNU tar, which gives a directory its time and mode when it
/// meets the first member that stands elsewhere, does so when nothing changes in there any more; with directories first it
/// would need --delay-directory-restore.
/// </summary>
/// <param name="image">The image.</param>
/// <param name="paths">What to write of its tree.</param>
/// <param name="output">Where to; not owned.</param>
internal sealed class TreeExporter(OpenedImage image, TreePaths paths, Stream output)
{
    private static readonly byte[] s_zeros = new byte[64 << 10];

    private readonly ImageTree _tree = image.Tree;
    private readonly PaxWriter _tar = new(output);

    /// <summary>Bytes of file content that there are to write.</summary>
    public long ContentSize => paths.ContentSize;

    /// <summary>Writes everything; what cannot be read throws. <paramref name="progress"/> is told the bytes of file content that are done.</summary>
    public async Task ExportAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        await WriteFilesAsync(progress, cancellationToken);
        WriteDirectories(cancellationToken);
        _tar.WriteEnd();
    }

    private void WriteDirectories(CancellationToken cancellationToken)
    {
        var coming = new Stack<ulong>([paths.Top]);
        var firstNames = new Dictionary<ulong, byte[]>();
        while (coming.TryPop(out ulong directory))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (directory != TreePaths.NoNode)
            {
                AddXattrs(directory);
                byte[] path = directory == paths.Top ? "./"u8.ToArray() : [.. paths.PathOf(directory), (byte)'/'];
                _tar.WriteHeader(path, (byte)'5', 0, default, _tree.Attributes(directory));
            }

            List<ulong> inside = [];
            foreach (TreeName name in paths.NamesIn(directory))
            {
                if (FileMode.IsDirectory(_tree.Mode(name.Node)))
                {
                    inside.Add(name.Node);
                }
                else
                {
                    WriteSpecial(directory, name, firstNames);
                }
            }
            inside.Reverse();
            inside.ForEach(coming.Push);
        }
    }

    // What is neither file nor directory. Its first name is the one that is met first.
    private void WriteSpecial(ulong directory, TreeName name, Dictionary<ulong, byte[]> firstNames)
    {
        ulong id = name.Node;
        char type = (_tree.Mode(id) & FileMode.TypeMask) switch
        {
            FileMode.Symlink => '2',
            FileMode.CharacterDevice => '3',
            FileMode.BlockDevice => '4',
            FileMode.Fifo => '6',
            _ => '\0',
        };
        if (type == '\0')
        {
            return;
        }
        NodeAttributes attributes = _tree.Attributes(id);
        byte[] path = paths.PathOf(directory, name.Name);
        if (attributes.LinkCount > 1 && !firstNames.TryAdd(id, path))
        {
            WriteFurtherName(path, firstNames[id], attributes);
            return;
        }
        AddXattrs(id);
        _tar.WriteHeader(path, (byte)type, 0, _tree.LinkTarget(id), attributes);
    }

    private async Task WriteFilesAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        using var files = new FilesInTarOrder(image, paths.Nodes);
        ILookup<ulong, FurtherName> furtherNames = paths.FurtherNames.ToLookup(name => name.Node);
        long written = 0;
        foreach (ulong id in files.Files)
        {
            cancellationToken.ThrowIfCancellationRequested();
            NodeAttributes attributes = _tree.Attributes(id);
            List<(long Offset, long At, long Length)> extents = [.. _tree.Extents(id)];
            long stored = extents.Sum(extent => extent.Length);
            AddXattrs(id);
            if (stored == attributes.Size)
            {
                _tar.WriteHeader(paths.PathOf(id), (byte)'0', attributes.Size, default, attributes);
                foreach ((_, long at, long length) in extents)
                {
                    await WriteContentAsync(files, id, at, length, cancellationToken);
                }
                _tar.Pad(attributes.Size);
            }
            else
            {
                await WriteSparseAsync(files, id, attributes, extents, cancellationToken);
            }
            foreach (FurtherName name in furtherNames[id])
            {
                WriteFurtherName(paths.PathOf(name.Directory, name.Name), paths.PathOf(id), attributes);
            }
            progress(written += stored);
        }
    }

    private Task WriteContentAsync(FilesInTarOrder files, ulong id, long at, long length, CancellationToken cancellationToken)
        => files.ReadAsync(_tree.LayerOf(id), at, length, (bytes, _) => output.Write(bytes), cancellationToken);

    // The form that GNU tar calls 1.0: the map is the beginning of the content, and the name in the header is made up.
    private async Task WriteSparseAsync(
        FilesInTarOrder files, ulong id, NodeAttributes attributes, List<(long Offset, long At, long Length)> extents, CancellationToken cancellationToken)
    {
        SparseLayout layout = SparseLayout.Of(extents, attributes.Size);
        byte[] path = paths.PathOf(id);
        int name = path.AsSpan().LastIndexOf((byte)'/') + 1; // where it begins
        _tar.AddRecord("GNU.sparse.major"u8, "1"u8);
        _tar.AddRecord("GNU.sparse.minor"u8, "0"u8);
        _tar.AddRecord("GNU.sparse.name"u8, path);
        _tar.AddRecord("GNU.sparse.realsize"u8, Encoding.ASCII.GetBytes(attributes.Size.ToString(CultureInfo.InvariantCulture)));
        long size = layout.Map.Length + layout.Runs.Sum(run => run.Length);
        _tar.WriteHeader([.. path.AsSpan(0, name), .. "GNUSparseFile.0/"u8, .. path.AsSpan(name)], (byte)'0', size, default, attributes);
        output.Write(layout.Map);
        int next = 0;
        foreach ((long offset, long length) in layout.Runs)
        {
            for (long done = offset; done < offset + length;)
            {
                if (next < extents.Count && extents[next].Offset == done)
                {
                    await WriteContentAsync(files, id, extents[next].At, extents[next].Length, cancellationToken);
                    done += extents[next++].Length;
                }
                else
                {
                    int zeros = (int)Math.Min(s_zeros.Length, extents[next].Offset - done);
                    output.Write(s_zeros.AsSpan(0, zeros));
                    done += zeros;
                }
            }
        }
        _tar.Pad(size);
    }

    private void WriteFurtherName(byte[] path, byte[] firstName, in NodeAttributes attributes)
        => _tar.WriteHeader(path, (byte)'1', 0, firstName, attributes);

    private void AddXattrs(ulong id)
    {
        foreach ((byte[] name, byte[] value) in _tree.XattrsOf(id))
        {
            _tar.AddRecord([.. "SCHILY.xattr."u8, .. Key(name)], value);
        }
    }

    // A key ends at its first "=": GNU tar writes %3D for one in a name, and reads %3D and %25 back.
    private static byte[] Key(ReadOnlySpan<byte> name)
        => Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(name).Replace("%25", "%2525", StringComparison.Ordinal).Replace("%3D", "%253D", StringComparison.Ordinal).Replace("=", "%3D", StringComparison.Ordinal));
}
