using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using LazyMount.Cli;
using LazyMount.Files;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Unpacking;

/// <summary>Whose the files are that are written.</summary>
internal enum FileOwners
{
    /// <summary>The image's owners. Takes root.</summary>
    OfImage,

    /// <summary>The caller. Set-user-ID and set-group-ID bits are left out; devices, which only root can make, become empty files.</summary>
    OfCaller,

    /// <summary>The caller. All mode bits are kept; devices become empty files; the attribute user.rootlesscontainers says who owns a file in the image.</summary>
    OfCallerRecorded,
}

/// <summary>
/// Writes a tree, or a part of one, into a directory: directories first, then files in tar order, then what has no bytes, then further
/// names of files, then the attributes of directories. All this happens in a private directory (<see cref="UnpackDirectory"/>); at the end
/// the names move to their place. Every path is walked from the root with no symbolic link followed (<see cref="OpenDirectories"/>) and
/// everything is created where nothing may stand, so that nothing is ever written or changed outside, whoever else may write to the
/// directory.
/// <para>Where a directory is already there, as <see cref="UnpackDirectory.OpenFilled"/> allows, what is in it stays, and the new names are
/// put into it: a file or a symbolic link replaces a file or a symbolic link of that name in one step, and anything else is refused before
/// a byte is fetched.</para>
/// </summary>
internal sealed class TreeUnpacker : IDisposable
{
    private const uint Private = 0x1C0; // 0700, until it is finished
    private const uint PermissionBits = 0xFFF, SetIdBits = 0xC00;
    private const int MaxRefusals = 10; // thousands of files may have the same owner
    private const uint NoOwner = uint.MaxValue; // in user.rootlesscontainers: whoever has it

    private readonly OpenedImage _image;
    private readonly ImageTree _tree;
    private readonly UnpackDirectory _target;
    private readonly FileOwners _owners;
    private readonly TreePaths _paths;
    private readonly OpenDirectories _directories, _linkedDirectories; // in the private directory
    private readonly OpenDirectories _places; // in the target
    private readonly HashSet<ulong> _merged = []; // directories that are in the target already
    private readonly byte[] _name = new byte[FileCalls.NameSize], _linkedName = new byte[FileCalls.NameSize];
    private readonly List<(ulong Directory, byte[] Name, bool IsDirectory)> _inPlace = []; // names that have moved
    private readonly List<string> _refusals = [];
    private bool _finishing, _stranded;

    /// <param name="image">The image.</param>
    /// <param name="paths">What to write of its tree. The target gets the attributes of its top, if that is a node.</param>
    /// <param name="target">Where to; not owned.</param>
    /// <param name="owners">Whose the files will be.</param>
    public TreeUnpacker(OpenedImage image, TreePaths paths, UnpackDirectory target, FileOwners owners)
    {
        (_image, _tree, _paths, _target, _owners) = (image, image.Tree, paths, target, owners);
        _directories = new OpenDirectories(_paths, target.Private);
        _linkedDirectories = new OpenDirectories(_paths, target.Private);
        _places = new OpenDirectories(_paths, target.Descriptor);
    }

    /// <summary>Bytes of file content that there are to write.</summary>
    public long ContentSize => _paths.ContentSize;

    /// <summary>Devices that became empty files.</summary>
    public int FakedDevices { get; private set; }

    /// <summary>Extended attributes that could not be set, for they need a privilege, or a file system that has them.</summary>
    public int SkippedXattrs { get; private set; }

    /// <summary>Files with the caller as owner, because the user namespace or the file system does not know their owner. As with cp -a, they lose set-user-ID and set-group-ID bits.</summary>
    public int RefusedOwners { get; private set; }

    /// <summary>Extended attributes whose value the file system refuses, such as an access list that is not valid.</summary>
    public int RefusedXattrs { get; private set; }

    /// <summary>The first of <see cref="RefusedOwners"/> and <see cref="RefusedXattrs"/>, each in words.</summary>
    public IReadOnlyList<string> Refusals => _refusals;

    /// <summary>
    /// Writes everything, or throws <see cref="CommandException"/> before it has written anything, or <see cref="IOException"/> or what reading
    /// the image throws, and leaves what there is. <paramref name="progress"/> is told the bytes of file content that are done.
    /// </summary>
    public async Task UnpackAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        if (_target.MayHoldNames)
        {
            FindMerged(cancellationToken);
        }
        MakeDirectories(cancellationToken);
        await WriteFilesAsync(progress, cancellationToken);
        MakeOthers(cancellationToken);
        LinkFurtherNames(cancellationToken);
        _finishing = true;
        FinishDirectories(cancellationToken);
        MoveIntoPlace(cancellationToken);
        FinishMerged(cancellationToken);
        FinishRoot();
    }

    // Finds the directories that are in the target already, and refuses what would be lost there.
    private void FindMerged(CancellationToken cancellationToken)
    {
        for (var coming = new Queue<ulong>([_paths.Top]); coming.TryDequeue(out ulong directory);)
        {
            int place = Open(_places, directory);
            foreach ((byte[] name, ulong node) in _paths.NamesIn(directory))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (FileCalls.GetStatus(place, FileCalls.ZeroEnded(name, _name), FileCalls.NoFollow, out FileStatus there) < 0)
                {
                    if (Marshal.GetLastPInvokeError() != FileCalls.ENOENT)
                    {
                        throw Failure("look for", () => _paths.PathOf(directory, name));
                    }
                    continue;
                }
                bool isDirectory = FileMode.IsDirectory(_tree.Mode(node));
                if (isDirectory && there.Type == FileCalls.Directory)
                {
                    _merged.Add(node);
                    coming.Enqueue(node);
                }
                else if (isDirectory || there.Type is not (FileCalls.RegularFile or FileCalls.SymbolicLink))
                {
                    string what = isDirectory ? "not a directory" : there.Type == FileCalls.Directory ? "a directory" : "not a regular file";
                    throw _target.Refusal($"'{ImagePathText.Decode(_paths.PathOf(directory, name))}' is there and is {what}; remove it first");
                }
            }
        }
    }

    // It moves to the target by its own name, not with the directory that it stands in.
    private bool IsMovedItself(ulong node) => _paths.ParentOf(node) is var parent && (parent == _paths.Top || _merged.Contains(parent));

    private void MakeDirectories(CancellationToken cancellationToken)
    {
        foreach (ulong node in _paths.Directories)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int parent = Open(_directories, _paths.ParentOf(node));
            Check(FileCalls.MakeDirectory(parent, Name(node), Private), "make the directory", node);
        }
    }

    private async Task WriteFilesAsync(Action<long> progress, CancellationToken cancellationToken)
    {
        using var files = new FilesInTarOrder(_image, _paths.Nodes);
        long written = 0;
        foreach (ulong node in files.Files)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int file = Check(FileCalls.CreateFile(Open(_directories, _paths.ParentOf(node)), Name(node)), "create the file", node);
            try
            {
                written += await WriteContentAsync(files, node, file, cancellationToken);
                FinishOpen(file, node);
            }
            finally
            {
                _ = FileCalls.Close(file);
            }
            progress(written);
        }
    }

    private async Task<long> WriteContentAsync(FilesInTarOrder files, ulong node, int file, CancellationToken cancellationToken)
    {
        long written = 0, end = 0;
        foreach ((long offset, long at, long length) in _tree.Extents(node))
        {
            await files.ReadAsync(_tree.LayerOf(node), at, length, (bytes, done) => Write(file, bytes, offset + done, node), cancellationToken);
            written += length;
            end = offset + length;
        }
        if (end < _tree.Size(node))
        {
            Check(FileCalls.SetSize(file, _tree.Size(node)), "set the size of", node);
        }
        return written;
    }

    private void Write(int file, ReadOnlySpan<byte> bytes, long offset, ulong node)
    {
        while (!bytes.IsEmpty)
        {
            nint count = FileCalls.Write(file, bytes, bytes.Length, offset);
            if (count < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR)
            {
                continue;
            }
            Check((int)count, "write", node);
            bytes = bytes[(int)count..];
            offset += count;
        }
    }

    // Links, pipes and devices.
    private void MakeOthers(CancellationToken cancellationToken)
    {
        foreach (ulong node in _paths.Nodes)
        {
            uint mode = _tree.Mode(node);
            if (FileMode.IsDirectory(mode) || FileMode.IsRegular(mode))
            {
                continue;
            }
            cancellationToken.ThrowIfCancellationRequested();
            int parent = Open(_directories, _paths.ParentOf(node));
            NodeAttributes attributes = _tree.Attributes(node);
            if (FileMode.IsSymlink(mode))
            {
                byte[] target = [.. _tree.LinkTarget(node), 0];
                Check(FileCalls.MakeSymlink(target, parent, Name(node)), "make the symbolic link", node);
            }
            else if (_owners != FileOwners.OfImage && (mode & FileMode.TypeMask) != FileMode.Fifo)
            {
                FakeDevice(parent, node);
                continue;
            }
            else
            {
                ulong device = FileCalls.DeviceNumber(attributes.DeviceMajor, attributes.DeviceMinor);
                int made = FileCalls.MakeNode(parent, Name(node), mode & (FileMode.TypeMask | 0x180), device);
                if (made < 0 && Marshal.GetLastPInvokeError() == FileCalls.EPERM && EntryFormat.IsDevice(mode))
                {
                    FakeDevice(parent, node); // root of a user namespace
                    continue;
                }
                Check(made, "make the special file", node);
            }
            FinishClosed(parent, node, attributes);
        }
    }

    private void FakeDevice(int parent, ulong node)
    {
        int file = Check(FileCalls.CreateFile(parent, Name(node)), "create the file", node);
        try
        {
            FinishOpen(file, node);
        }
        finally
        {
            _ = FileCalls.Close(file);
        }
        FakedDevices++;
    }

    private void LinkFurtherNames(CancellationToken cancellationToken)
    {
        foreach ((ulong node, ulong directory, byte[] name) in _paths.FurtherNames)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int from = Open(_linkedDirectories, _paths.ParentOf(node));
            int to = Open(_directories, directory);
            if (FileCalls.Link(from, FileCalls.ZeroEnded(_paths.NameOf(node), _linkedName), to, FileCalls.ZeroEnded(name, _name), 0) < 0)
            {
                throw Failure("make the hard link", () => _paths.PathOf(directory, name));
            }
        }
    }

    // From the innermost out: a directory that gets its time has all its names, and one that loses a permission has been passed.
    private void FinishDirectories(CancellationToken cancellationToken)
    {
        foreach (ulong node in _paths.Directories.Reverse())
        {
            if (_merged.Contains(node) || IsMovedItself(node))
            {
                continue;
            }
            cancellationToken.ThrowIfCancellationRequested();
            int directory = Check(FileCalls.OpenDirectory(Open(_directories, _paths.ParentOf(node)), Name(node)), "open the directory", node);
            try
            {
                FinishOpen(directory, node);
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
        foreach (ulong directory in _paths.Directories.Where(_merged.Contains).Prepend(_paths.Top))
        {
            int from = Open(_directories, directory), to = Open(_places, directory);
            foreach ((byte[] name, ulong node) in _paths.NamesIn(directory).Where(name => !_merged.Contains(name.Node)))
            {
                cancellationToken.ThrowIfCancellationRequested();
                MoveIntoPlace(directory, name, node, from, to);
            }
        }
    }

    private void MoveIntoPlace(ulong directory, byte[] name, ulong node, int from, int to)
    {
        bool isDirectory = FileMode.IsDirectory(_tree.Mode(node));
        ReadOnlySpan<byte> ended = FileCalls.ZeroEnded(name, _name);
        int opened = isDirectory ? Check(FileCalls.OpenDirectory(from, ended), "open the directory", node) : -1;
        try
        {
            bool isNew = FileCalls.Move(from, ended, to, ended) == 0;
            if (!isNew && (isDirectory || !_target.MayHoldNames || Marshal.GetLastPInvokeError() != FileCalls.EEXIST || FileCalls.Rename(from, ended, to, ended) < 0))
            {
                throw Failure("move into place", () => _paths.PathOf(directory, name));
            }
            if (isNew)
            {
                _inPlace.Add((directory, name, isDirectory));
            }
            // What was replaced cannot be brought back.
            _stranded |= !isNew;
            if (opened >= 0)
            {
                FinishOpen(opened, node);
            }
        }
        finally
        {
            if (opened >= 0)
            {
                _ = FileCalls.Close(opened);
            }
        }
    }

    // The innermost first: a directory gets its time when it has all its names.
    private void FinishMerged(CancellationToken cancellationToken)
    {
        foreach (ulong node in _paths.Directories.Where(_merged.Contains).Reverse())
        {
            cancellationToken.ThrowIfCancellationRequested();
            Check(FileCalls.Unlink(Open(_directories, _paths.ParentOf(node)), Name(node), FileCalls.RemoveDirectory), "remove the private directory", node);
            int directory = Check(FileCalls.OpenDirectory(Open(_places, _paths.ParentOf(node)), Name(node)), "open the directory", node);
            try
            {
                FinishOpen(directory, node);
            }
            finally
            {
                _ = FileCalls.Close(directory);
            }
        }
    }

    private void FinishRoot()
    {
        if (_target.RemovePrivate() < 0)
        {
            throw new IOException($"cannot remove the staging directory: {Marshal.GetLastPInvokeErrorMessage()}");
        }
        if (_paths.Top != TreePaths.NoNode)
        {
            FinishOpen(_target.Descriptor, _paths.Top);
        }
    }

    // Owner first, for changing it takes set-user-id bits and capabilities away; the time last.
    private void FinishOpen(int file, ulong node)
    {
        NodeAttributes attributes = _tree.Attributes(node);
        bool isOwned = _owners == FileOwners.OfImage && IsOwned(FileCalls.SetOwner(file, attributes.Uid, attributes.Gid), node, attributes);
        if (node == _paths.Top)
        {
            // Its own, or from where it was made; not before it has the owner who alone may set some again.
            _ = FileCalls.RemoveXattr(file, "system.posix_acl_default\0"u8);
            _ = FileCalls.RemoveXattr(file, "system.posix_acl_access\0"u8);
        }
        if (_owners == FileOwners.OfCallerRecorded || _tree.HasXattrs)
        {
            SetXattrs(node, _tree.XattrsOf(node), attributes, (name, value) => FileCalls.SetXattr(file, name, value, value.Length, 0));
        }
        Check(FileCalls.SetMode(file, PermissionsOf(attributes, isOwned)), "set the mode of", node);
        Check(FileCalls.SetTimes(file, Times(attributes)), "set the time of", node);
    }

    // The same for what cannot be opened, or not without effects.
    private void FinishClosed(int parent, ulong node, in NodeAttributes attributes)
    {
        bool isOwned = _owners == FileOwners.OfImage && IsOwned(FileCalls.SetOwnerAt(parent, Name(node), attributes.Uid, attributes.Gid, FileCalls.NoFollow), node, attributes);
        if (_tree.XattrsOf(node) is { Count: > 0 } xattrs)
        {
            // There is no setxattrat before Linux 6.13; an open directory's name in /proc leads to that directory alone.
            byte[] path = [.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{parent}/")), .. _paths.NameOf(node), 0];
            SetXattrs(node, xattrs, attributes, (name, value) => FileCalls.SetXattrOfPath(path, name, value, value.Length, 0));
        }
        if (!FileMode.IsSymlink(attributes.Mode))
        {
            Check(FileCalls.SetModeUnopened(parent, Name(node), attributes.Mode & FileMode.TypeMask, PermissionsOf(attributes, isOwned)), "set the mode of", node);
        }
        Check(FileCalls.SetTimesAt(parent, Name(node), Times(attributes), FileCalls.NoFollow), "set the time of", node);
    }

    // As cp -a: a program of the image's root must not run as the caller, whoever starts it.
    private uint PermissionsOf(in NodeAttributes attributes, bool isOwned)
        => attributes.Mode & (isOwned || _owners == FileOwners.OfCallerRecorded ? PermissionBits : PermissionBits & ~SetIdBits);

    // Whether a call has set the owner.
    private bool IsOwned(int result, ulong node, in NodeAttributes attributes)
    {
        string what = $"set the owner {attributes.Uid}:{attributes.Gid} of";
        if (result < 0 && Marshal.GetLastPInvokeError() == FileCalls.EINVAL)
        {
            Refuse(what, node);
            RefusedOwners++;
            return false;
        }
        Check(result, what, node);
        return true;
    }

    private void Refuse(string what, ulong node)
    {
        if (_refusals.Count < MaxRefusals)
        {
            _refusals.Add(Failure(what, node).Message);
        }
    }

    private delegate int Setter(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value);

    private void SetXattrs(ulong node, IReadOnlyList<(byte[] Name, byte[] Value)> xattrs, in NodeAttributes attributes, Setter set)
    {
        foreach ((byte[] name, byte[] value) in xattrs)
        {
            if (set([.. name, 0], value) < 0)
            {
                string what = $"set the attribute '{Encoding.UTF8.GetString(name)}' of";
                switch (Marshal.GetLastPInvokeError())
                {
                    case FileCalls.EPERM or FileCalls.ENOTSUP:
                        SkippedXattrs++;
                        break;
                    case FileCalls.EINVAL:
                        Refuse(what, node);
                        RefusedXattrs++;
                        break;
                    default:
                        throw Failure(what, node);
                }
            }
        }
        if (_owners == FileOwners.OfCallerRecorded && (attributes.Uid != 0 || attributes.Gid != 0) && !FileMode.IsSymlink(attributes.Mode))
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
            foreach (ulong node in _paths.Directories)
            {
                if (_directories.Open(_paths.ParentOf(node)) is >= 0 and int parent)
                {
                    MakeWritable(parent, Name(node));
                }
            }
        }
        bool removed = true;
        foreach ((_, ulong directory, byte[] name) in _paths.FurtherNames)
        {
            removed &= !cancellationToken.IsCancellationRequested && TryRemove(directory, FileCalls.ZeroEnded(name, _name), 0);
        }
        foreach (ulong node in _paths.Nodes.Reverse())
        {
            if (cancellationToken.IsCancellationRequested)
            {
                break;
            }
            removed &= TryRemove(_paths.ParentOf(node), Name(node), FileMode.IsDirectory(_tree.Mode(node)) ? FileCalls.RemoveDirectory : 0);
        }
        return removed && !_stranded && !cancellationToken.IsCancellationRequested;
    }

    // What cannot be opened was not made.
    private bool TryRemove(ulong directory, ReadOnlySpan<byte> name, int flags)
        => _directories.Open(directory) is not (>= 0 and int parent)
            || FileCalls.Unlink(parent, name, flags) == 0
            || Marshal.GetLastPInvokeError() == FileCalls.ENOENT;

    private void MoveBack()
    {
        foreach ((ulong directory, byte[] name, bool isDirectory) in _inPlace)
        {
            (int from, int to) = (_places.Open(directory), _directories.Open(directory));
            ReadOnlySpan<byte> ended = FileCalls.ZeroEnded(name, _name);
            if (isDirectory)
            {
                MakeWritable(from, ended);
            }
            _stranded |= FileCalls.Move(from, ended, to, ended) < 0;
        }
        _inPlace.Clear();
    }

    // Not by opening it: a mode of 0000 does not allow that.
    private static void MakeWritable(int parent, ReadOnlySpan<byte> name) => _ = FileCalls.SetModeUnopened(parent, name, FileMode.Directory, Private);

    private ReadOnlySpan<byte> Name(ulong node) => FileCalls.ZeroEnded(_paths.NameOf(node), _name);

    private int Open(OpenDirectories directories, ulong node) => Check(directories.Open(node), "open the directory", node);

    private int Check(int result, string what, ulong node) => result >= 0 ? result : throw Failure(what, node);

    private IOException Failure(string what, ulong node) => Failure(what, () => _tree.PathOf(node)[1..]);

    // The error first: looking for the path makes calls of its own.
    private static IOException Failure(string what, Func<byte[]> path)
    {
        string reason = Marshal.GetLastPInvokeErrorMessage();
        return new IOException($"cannot {what} '/{ImagePathText.Decode(path())}' of the image: {reason}");
    }

    public void Dispose()
    {
        _directories.Dispose();
        _linkedDirectories.Dispose();
        _places.Dispose();
    }
}
