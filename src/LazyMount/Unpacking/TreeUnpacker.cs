using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using LazyMount.Cli;
using LazyMount.Files;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Unpacking;

/// <summary>
/// Writes a tree into a directory: directories first, then files in tar order, then what has no bytes, then further names of files, then
/// the attributes of directories. All this happens in a private directory (<see cref="UnpackDirectory"/>); at the end the names of the
/// root move to their place. Every path is walked from the root with no symbolic link followed (<see cref="OpenDirectories"/>) and
/// everything is created where nothing may stand, so that nothing is ever written or changed outside, whoever else may write to the
/// directory.
/// </summary>
internal sealed class TreeUnpacker : IDisposable
{
    private const uint Private = 0x1C0; // 0700, until it is finished
    private const uint PermissionBits = 0xFFF;
    private const uint NoOwner = uint.MaxValue; // in user.rootlesscontainers: whoever has it

    private readonly OpenedImage _image;
    private readonly ImageTree _tree;
    private readonly UnpackDirectory _target;
    private readonly bool _rootless;
    private readonly TreePaths _paths;
    private readonly OpenDirectories _directories, _linkedDirectories;
    private readonly byte[] _name = new byte[FileCalls.NameSize], _linkedName = new byte[FileCalls.NameSize];
    private readonly List<int> _inPlace = []; // positions of names that have moved
    private bool _finishing, _stranded;

    /// <param name="image">What to write.</param>
    /// <param name="target">Where to; not owned.</param>
    /// <param name="rootless">Everything stays the caller's, and devices become empty files.</param>
    public TreeUnpacker(OpenedImage image, UnpackDirectory target, bool rootless)
    {
        (_image, _tree, _target, _rootless) = (image, image.Tree, target, rootless);
        _paths = new TreePaths(_tree);
        _directories = new OpenDirectories(_tree, _paths, target.Private);
        _linkedDirectories = new OpenDirectories(_tree, _paths, target.Private);
    }

    /// <summary>Devices that became empty files.</summary>
    public int FakedDevices { get; private set; }

    /// <summary>Extended attributes that could not be set, for they need a privilege, or a file system that has them.</summary>
    public int SkippedXattrs { get; private set; }

    /// <summary>
    /// Writes everything, or throws <see cref="IOException"/> or what reading the image throws, and leaves what there is.
    /// <paramref name="progress"/> is told the bytes of file content that are done, up to the tree's total.
    /// </summary>
    public async Task UnpackAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        MakeDirectories(cancellationToken);
        await WriteFilesAsync(progress, cancellationToken);
        MakeOthers(cancellationToken);
        LinkFurtherNames(cancellationToken);
        _finishing = true;
        FinishDirectories(cancellationToken);
        MoveIntoPlace(cancellationToken);
        FinishRoot();
    }

    private void MakeDirectories(CancellationToken cancellationToken)
    {
        for (int position = 1; position < _tree.Count; position++)
        {
            if (_paths.IsDirectory(position))
            {
                cancellationToken.ThrowIfCancellationRequested();
                int parent = Open(_directories, _paths.ParentOf(position));
                Check(FileCalls.MakeDirectory(parent, Name(position), Private), "make the directory", position);
            }
        }
    }

    private async Task WriteFilesAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        using var files = new FilesInTarOrder(_image);
        long written = 0;
        foreach (int position in files.Positions)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int file = Check(FileCalls.CreateFile(Open(_directories, _paths.ParentOf(position)), Name(position)), "create the file", position);
            try
            {
                written += await WriteContentAsync(files, position, file, cancellationToken);
                FinishOpen(file, position);
            }
            finally
            {
                _ = FileCalls.Close(file);
            }
            progress(written);
        }
    }

    private async Task<long> WriteContentAsync(FilesInTarOrder files, int position, int file, CancellationToken cancellationToken)
    {
        ulong id = (ulong)position + 1;
        long written = 0, end = 0;
        foreach ((long offset, long at, long length) in _tree.Extents(id))
        {
            await files.ReadAsync(_tree.LayerOf(id), at, length, (bytes, done) => Write(file, bytes, offset + done, position), cancellationToken);
            written += length;
            end = offset + length;
        }
        if (end < _tree.Size(id))
        {
            Check(FileCalls.SetSize(file, _tree.Size(id)), "set the size of", position);
        }
        return written;
    }

    private void Write(int file, ReadOnlySpan<byte> bytes, long offset, int position)
    {
        while (!bytes.IsEmpty)
        {
            nint count = FileCalls.Write(file, bytes, bytes.Length, offset);
            if (count < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR)
            {
                continue;
            }
            Check((int)count, "write", position);
            bytes = bytes[(int)count..];
            offset += count;
        }
    }

    // Links, pipes and devices.
    private void MakeOthers(CancellationToken cancellationToken)
    {
        for (int position = 1; position < _tree.Count; position++)
        {
            uint mode = _tree.Mode(_tree.NodeAt(position));
            if (!_paths.IsFirstName(position) || FileMode.IsDirectory(mode) || FileMode.IsRegular(mode))
            {
                continue;
            }
            cancellationToken.ThrowIfCancellationRequested();
            int parent = Open(_directories, _paths.ParentOf(position));
            NodeAttributes attributes = _tree.Attributes((ulong)position + 1);
            if (FileMode.IsSymlink(mode))
            {
                byte[] target = [.. _tree.LinkTarget((ulong)position + 1), 0];
                Check(FileCalls.MakeSymlink(target, parent, Name(position)), "make the symbolic link", position);
            }
            else if (_rootless && (mode & FileMode.TypeMask) != FileMode.Fifo)
            {
                FakeDevice(parent, position);
                continue;
            }
            else
            {
                ulong device = FileCalls.DeviceNumber(attributes.DeviceMajor, attributes.DeviceMinor);
                Check(FileCalls.MakeNode(parent, Name(position), mode & (FileMode.TypeMask | 0x180), device), "make the special file", position);
            }
            FinishClosed(parent, position, attributes);
        }
    }

    private void FakeDevice(int parent, int position)
    {
        int file = Check(FileCalls.CreateFile(parent, Name(position)), "create the file", position);
        try
        {
            FinishOpen(file, position);
        }
        finally
        {
            _ = FileCalls.Close(file);
        }
        FakedDevices++;
    }

    private void LinkFurtherNames(CancellationToken cancellationToken)
    {
        for (int position = 1; position < _tree.Count; position++)
        {
            if (!_paths.IsFirstName(position))
            {
                cancellationToken.ThrowIfCancellationRequested();
                int first = (int)(_tree.NodeAt(position) - 1);
                int from = Open(_linkedDirectories, _paths.ParentOf(first));
                int to = Open(_directories, _paths.ParentOf(position));
                Check(FileCalls.Link(from, FileCalls.ZeroEnded(_tree.NameAt(first), _linkedName), to, Name(position), 0), "make the hard link", position);
            }
        }
    }

    // From the innermost out: a directory that gets its time has all its names, and one that loses a permission has been passed.
    private void FinishDirectories(CancellationToken cancellationToken)
    {
        for (int position = _tree.Count - 1; position > 0; position--)
        {
            if (!_paths.IsDirectory(position) || _paths.ParentOf(position) == 0)
            {
                continue;
            }
            cancellationToken.ThrowIfCancellationRequested();
            int directory = Check(FileCalls.OpenDirectory(Open(_directories, _paths.ParentOf(position)), Name(position)), "open the directory", position);
            try
            {
                FinishOpen(directory, position);
            }
            finally
            {
                _ = FileCalls.Close(directory);
            }
        }
    }

    // A directory must still be writable when it moves to another one, and is finished by a descriptor from before: its name may lead
    // somebody else's way by then.
    private void MoveIntoPlace(CancellationToken cancellationToken)
    {
        (int first, int count) = _tree.Children(1);
        for (int position = first; position < first + count; position++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int directory = _paths.IsDirectory(position) ? Check(FileCalls.OpenDirectory(_target.Private, Name(position)), "open the directory", position) : -1;
            try
            {
                Check(FileCalls.Move(_target.Private, Name(position), _target.Descriptor, Name(position)), "move into place", position);
                _inPlace.Add(position);
                if (directory >= 0)
                {
                    FinishOpen(directory, position);
                }
            }
            finally
            {
                if (directory >= 0)
                {
                    _ = FileCalls.Close(directory);
                }
            }
        }
    }

    private void FinishRoot()
    {
        if (_target.RemovePrivate() < 0)
        {
            throw new IOException($"cannot remove the empty directory that was written to first: {Marshal.GetLastPInvokeErrorMessage()}");
        }
        FinishOpen(_target.Descriptor, 0);
    }

    // Owner first, for changing it takes set-user-id bits and capabilities away; the time last.
    private void FinishOpen(int file, int position)
    {
        NodeAttributes attributes = _tree.Attributes((ulong)position + 1);
        if (!_rootless)
        {
            Check(FileCalls.SetOwner(file, attributes.Uid, attributes.Gid), "set the owner of", position);
        }
        if (position == 0)
        {
            // Its own, or from where it was made; not before it has the owner who alone may set some again.
            _ = FileCalls.RemoveXattr(file, "system.posix_acl_default\0"u8);
            _ = FileCalls.RemoveXattr(file, "system.posix_acl_access\0"u8);
        }
        if (_rootless || _tree.HasXattrs)
        {
            SetXattrs(position, attributes, (name, value) => FileCalls.SetXattr(file, name, value, value.Length, 0));
        }
        Check(FileCalls.SetMode(file, attributes.Mode & PermissionBits), "set the mode of", position);
        Check(FileCalls.SetTimes(file, Times(attributes)), "set the time of", position);
    }

    // The same for what cannot be opened, or not without effects.
    private void FinishClosed(int parent, int position, in NodeAttributes attributes)
    {
        if (!_rootless)
        {
            Check(FileCalls.SetOwnerAt(parent, Name(position), attributes.Uid, attributes.Gid, FileCalls.NoFollow), "set the owner of", position);
        }
        if (!_tree.XattrNames((ulong)position + 1).IsEmpty)
        {
            // There is no setxattrat before Linux 6.13; an open directory's name in /proc leads to that directory alone.
            byte[] path = [.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{parent}/")), .. _tree.NameAt(position), 0];
            SetXattrs(position, attributes, (name, value) => FileCalls.SetXattrOfPath(path, name, value, value.Length, 0));
        }
        if (!FileMode.IsSymlink(attributes.Mode))
        {
            Check(FileCalls.SetModeUnopened(parent, Name(position), attributes.Mode & FileMode.TypeMask, attributes.Mode & PermissionBits), "set the mode of", position);
        }
        Check(FileCalls.SetTimesAt(parent, Name(position), Times(attributes), FileCalls.NoFollow), "set the time of", position);
    }

    private delegate int Setter(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value);

    private void SetXattrs(int position, in NodeAttributes attributes, Setter set)
    {
        ulong id = (ulong)position + 1;
        ReadOnlySpan<byte> names = _tree.XattrNames(id);
        while (names.IndexOf((byte)0) is >= 0 and int end)
        {
            if (_tree.TryGetXattr(id, names[..end], out ReadOnlySpan<byte> value) && set(names[..(end + 1)], value) < 0)
            {
                if (Marshal.GetLastPInvokeError() is not (FileCalls.EPERM or FileCalls.ENOTSUP))
                {
                    throw Failure($"set the attribute {Encoding.UTF8.GetString(names[..end])} of", position);
                }
                SkippedXattrs++;
            }
            names = names[(end + 1)..];
        }
        if (_rootless && (attributes.Uid != 0 || attributes.Gid != 0) && !FileMode.IsSymlink(attributes.Mode))
        {
            // What the file cannot have is written beside it, as umoci does; PRoot and others know it. Where that is not
            // possible either, nothing is lost that could have been kept.
            _ = set("user.rootlesscontainers\0"u8, OwnerRecord(attributes.Uid, attributes.Gid));
        }
    }

    // https://github.com/rootless-containers/proto: message Resource { uint32 uid = 1; uint32 gid = 2; }
    private static byte[] OwnerRecord(uint uid, uint gid)
    {
        var record = new List<byte>(12);
        Add(1, uid);
        Add(2, gid);
        return [.. record];

        void Add(int field, uint id)
        {
            record.Add((byte)(field << 3));
            for (id = id == 0 ? NoOwner : id; id >= 0x80; id >>= 7)
            {
                record.Add((byte)(id | 0x80));
            }
            record.Add((byte)id);
        }
    }

    private static FileCalls.TimeSpec[] Times(in NodeAttributes attributes)
    {
        var time = new FileCalls.TimeSpec { Seconds = attributes.MtimeSeconds, Nanoseconds = attributes.MtimeNanoseconds };
        return [time, time];
    }

    /// <summary>Removes all that was written. False when something is left, for it could not be removed or nobody wants to wait.</summary>
    public bool TryRemove(CancellationToken cancellationToken)
    {
        MoveBack();
        if (_finishing)
        {
            for (int position = 1; position < _tree.Count; position++)
            {
                if (_paths.IsDirectory(position) && _directories.Open(_paths.ParentOf(position)) is >= 0 and int parent)
                {
                    MakeWritable(parent, position);
                }
            }
        }
        bool removed = true;
        for (int position = _tree.Count - 1; position > 0 && !cancellationToken.IsCancellationRequested; position--)
        {
            // What cannot be opened was not made.
            if (_directories.Open(_paths.ParentOf(position)) is >= 0 and int parent)
            {
                removed &= FileCalls.Unlink(parent, Name(position), _paths.IsDirectory(position) ? FileCalls.RemoveDirectory : 0) == 0
                    || Marshal.GetLastPInvokeError() == FileCalls.ENOENT;
            }
        }
        return removed && !_stranded && !cancellationToken.IsCancellationRequested;
    }

    private void MoveBack()
    {
        foreach (int position in _inPlace)
        {
            if (_paths.IsDirectory(position))
            {
                MakeWritable(_target.Descriptor, position);
            }
            _stranded |= FileCalls.Move(_target.Descriptor, Name(position), _target.Private, Name(position)) < 0;
        }
        _inPlace.Clear();
    }

    // Not by opening it: a mode of 0000 does not allow that.
    private void MakeWritable(int parent, int position) => _ = FileCalls.SetModeUnopened(parent, Name(position), FileMode.Directory, Private);

    private ReadOnlySpan<byte> Name(int position) => FileCalls.ZeroEnded(_tree.NameAt(position), _name);

    private int Open(OpenDirectories directories, int position) => Check(directories.Open(position), "open the directory", position);

    private int Check(int result, string what, int position) => result >= 0 ? result : throw Failure(what, position);

    private IOException Failure(string what, int position)
    {
        string reason = Marshal.GetLastPInvokeErrorMessage();
        string path = ImagePathText.Decode(_paths.PathOf(position));
        return new IOException($"cannot {what} '/{path}' of the image: {reason}");
    }

    public void Dispose()
    {
        _directories.Dispose();
        _linkedDirectories.Dispose();
    }
}
