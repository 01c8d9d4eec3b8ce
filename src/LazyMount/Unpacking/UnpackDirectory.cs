using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Files;

namespace LazyMount.Unpacking;

/// <summary>
/// The directory that a user names for `unpack`, made or found empty, or for `cp`, which exists; and in it a private one, where everything is
/// written before it gets its place. Whoever else may write to the directory cannot reach, exchange or see what is not finished: mode
/// 0700, no access lists, and never opened by a path again.
/// </summary>
internal sealed class UnpackDirectory : IDisposable
{
    private readonly string _path;
    private byte[]? _made;
    private byte[] _privateName = [];

    private UnpackDirectory(string path) => _path = path;

    /// <summary>Other names may be in it, and stay.</summary>
    public bool MayHoldNames { get; private init; }

    /// <summary>The open directory.</summary>
    public int Descriptor { get; private set; } = -1;

    /// <summary>The open private directory in it.</summary>
    public int Private { get; private set; } = -1;

    /// <summary>Refuses a directory that cannot be unpacked into, before anything is fetched.</summary>
    /// <exception cref="CommandException">It is there and no empty directory, or the directory above it is missing.</exception>
    public static void Check(string path)
    {
        using var directory = new UnpackDirectory(path);
        byte[] name = directory.NativePath();
        if (FileCalls.GetStatus(FileCalls.CurrentDirectory, name, 0, out FileStatus status) < 0)
        {
            if (Marshal.GetLastPInvokeError() == FileCalls.ENOENT && MissingParentOf(name) is { } parent)
            {
                throw directory.Refusal(FileProblem.NoDirectory(parent));
            }
            return;
        }
        if (status.Type != FileCalls.Directory)
        {
            throw directory.Refusal("it is not a directory; name another one");
        }
        directory.OpenExisting(name, FileCalls.OpenRoot(name));
    }

    /// <summary>Opens the directory, which is made when there is none, and makes the private one in it.</summary>
    /// <exception cref="CommandException">That cannot be done, or it is not empty.</exception>
    public static UnpackDirectory Open(string path)
    {
        var directory = new UnpackDirectory(path);
        try
        {
            byte[] name = directory.NativePath();
            // What was made just now is no symbolic link, unless somebody exchanged it.
            directory.OpenExisting(name, directory.Make(name, 0x1C0 /* 0700 */) ? FileCalls.OpenDirectory(FileCalls.CurrentDirectory, name) : FileCalls.OpenRoot(name));
            directory.MakePrivate();
            return directory;
        }
        catch
        {
            directory.TryRemove();
            directory.Dispose();
            throw;
        }
    }

    /// <summary>Opens a directory that is there and may hold other names, and makes the private one in it.</summary>
    /// <exception cref="CommandException">That cannot be done.</exception>
    public static UnpackDirectory OpenFilled(string path)
    {
        var directory = new UnpackDirectory(path) { MayHoldNames = true };
        try
        {
            byte[] name = directory.NativePath();
            directory.OpenExisting(name, FileCalls.OpenRoot(name));
            directory.MakePrivate();
            return directory;
        }
        catch
        {
            directory.TryRemove();
            directory.Dispose();
            throw;
        }
    }

    /// <summary>Removes the private directory, which must be empty. -1 with errno set when that fails.</summary>
    public int RemovePrivate()
    {
        int result = _privateName.Length == 0 ? 0 : FileCalls.Unlink(Descriptor, _privateName, FileCalls.RemoveDirectory);
        _privateName = result == 0 ? [] : _privateName;
        return result;
    }

    /// <summary>Removes what was made here and is empty. False when something is left.</summary>
    public bool TryRemove()
    {
        bool removed = Descriptor < 0 || RemovePrivate() == 0;
        return removed && (_made is null || FileCalls.Unlink(FileCalls.CurrentDirectory, _made, FileCalls.RemoveDirectory) == 0);
    }

    public void Dispose()
    {
        foreach (int file in (int[])[Private, Descriptor])
        {
            if (file >= 0)
            {
                _ = FileCalls.Close(file);
            }
        }
        (Private, Descriptor) = (-1, -1);
    }

    private byte[] NativePath()
    {
        ReadOnlySpan<byte> path = ImagePathText.Encode(_path);
        ReadOnlySpan<byte> trimmed = path.TrimEnd((byte)'/');
        return [.. trimmed.IsEmpty ? path[..1] : trimmed, 0];
    }

    // False when it is there.
    private bool Make(byte[] path, uint mode)
    {
        if (FileCalls.MakeDirectory(FileCalls.CurrentDirectory, path, mode) == 0)
        {
            _made = path;
            return true;
        }
        int errno = Marshal.GetLastPInvokeError();
        return errno == FileCalls.EEXIST ? false
            : throw Refusal(errno == FileCalls.ENOENT && MissingParentOf(path) is { } parent ? FileProblem.NoDirectory(parent) : FileProblem.NotWritable(errno));
    }

    // Null if it is there, as that of /proc/x is, where nothing can be made.
    private static string? MissingParentOf(byte[] path)
    {
        int slash = path.AsSpan().LastIndexOf((byte)'/');
        ReadOnlySpan<byte> parent = slash <= 0 ? default : path.AsSpan(0, slash).TrimEnd((byte)'/');
        return parent.IsEmpty || FileCalls.GetStatus(FileCalls.CurrentDirectory, [.. parent, 0], 0, out _) == 0 ? null : ImagePathText.Decode(parent);
    }

    private void OpenExisting(byte[] name, int opened)
    {
        if (opened < 0)
        {
            string reason = Marshal.GetLastPInvokeErrorMessage();
            throw FileCalls.GetStatus(FileCalls.CurrentDirectory, name, 0, out FileStatus status) == 0 && status.Type != FileCalls.Directory
                ? Refusal("it is not a directory; name another one")
                : Refusal(reason);
        }
        Descriptor = opened;
        if (!MayHoldNames && !IsEmpty(opened))
        {
            throw Refusal("it is not empty; name an empty directory or one that does not exist");
        }
        if (!FileCalls.IsWritable(opened))
        {
            throw Refusal(FileProblem.NotWritable(Marshal.GetLastPInvokeError()));
        }
    }

    private void MakePrivate()
    {
        // Which user we are to this file system: not always the effective one, as on an NFS server that maps root to nobody.
        byte[] probe = NewName();
        int file = Check(FileCalls.CreateFile(Descriptor, probe));
        _ = Check(FileCalls.GetStatus(file, out FileStatus own));
        _ = FileCalls.Close(file);
        _ = Check(FileCalls.Unlink(Descriptor, probe, 0));

        byte[] name = NewName();
        _ = Check(FileCalls.MakeDirectory(Descriptor, name, 0x1C0));
        _privateName = name;
        Private = Check(FileCalls.OpenDirectory(Descriptor, name));
        _ = Check(FileCalls.GetStatus(Private, out FileStatus made));
        if (made.Owner != own.Owner)
        {
            throw Refusal("another user is exchanging its files; name a directory that only you can write to");
        }
        // Access lists that everything in it would get besides its own, from where the directory was made.
        _ = FileCalls.RemoveXattr(Private, "system.posix_acl_default\0"u8);
        _ = FileCalls.RemoveXattr(Private, "system.posix_acl_access\0"u8);
        _ = Check(FileCalls.SetMode(Private, 0x1C0));
        if (!IsEmpty(Private))
        {
            throw Refusal("another user is exchanging its files; name a directory that only you can write to");
        }
    }

    private static bool IsEmpty(int directory)
    {
        string path = ImagePathText.Decode(FileCalls.DescriptorPath(directory)[..^1]);
        return !Directory.EnumerateFileSystemEntries(path).Any();
    }

    private static byte[] NewName() => ImagePathText.Encode($".lazymount-{Guid.NewGuid():N}.tmp\0");

    private int Check(int result) => result >= 0 ? result : throw Refusal(FileProblem.NotWritable(Marshal.GetLastPInvokeError()));

    /// <summary>Says that nothing can be written here.</summary>
    public CommandException Refusal(string reason) => new($"cannot {(MayHoldNames ? "copy" : "unpack")} into '{_path}': {reason}");
}
