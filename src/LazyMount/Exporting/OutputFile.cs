using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Files;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Exporting;

/// <summary>
/// The file that a user names for a result. It appears under its name when it is complete: it is written under another name in the same
/// directory and then renamed. What is no regular file, such as a pipe or /dev/null, is written to as it is.
/// <para>A symbolic link at the end of the path is followed when it belongs to the caller or to root. Another user's link is replaced, for
/// rename(2) would otherwise replace any file that this user likes to name. Every step is relative to an open directory, so that
/// no directory can be exchanged in between.</para>
/// </summary>
internal sealed class OutputFile : IDisposable
{
    private const int MaxLinks = 40;
    private const uint Unsafe = 0x12; // write permission for the group and others

    private static readonly TimeSpan s_readerMayCome = TimeSpan.FromMilliseconds(50);

    private readonly string _path;
    private readonly bool _inAnyOrder;
    private int _directory;
    private byte[] _name;
    private byte[]? _staged;
    private uint? _mode;

    private OutputFile(string path, bool inAnyOrder)
    {
        (byte[] directory, _name) = Split(ImagePathText.Encode(path));
        (_path, _inAnyOrder, _directory) = (path, inAnyOrder, FileCalls.OpenDirectoryBehind(FileCalls.CurrentDirectory, directory));
        if (_directory < 0)
        {
            string named = ImagePathText.Decode(directory.AsSpan(..^1));
            throw Failure(Marshal.GetLastPInvokeError() == FileCalls.ENOENT ? FileProblem.NoDirectory(named) : $"the directory '{named}': {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    /// <summary>For writing.</summary>
    public SafeFileHandle Handle { get; private set; } = new();

    /// <summary>Refuses what can never be written, before anything is fetched.</summary>
    /// <param name="path">What the user named.</param>
    /// <param name="inAnyOrder">It is not written from its first byte to its last: only a regular file of its own will do.</param>
    /// <exception cref="CommandException">It is a directory, or nothing that can be written so, or its directory does not exist.</exception>
    public static void Check(string path, bool inAnyOrder)
    {
        using var file = new OutputFile(path, inAnyOrder);
        file.Find();
    }

    /// <summary>Opens a file, after the same check. Waits for the reader of a pipe.</summary>
    /// <exception cref="CommandException">It cannot be written.</exception>
    public static OutputFile Open(string path, bool inAnyOrder, CancellationToken cancellationToken)
    {
        var file = new OutputFile(path, inAnyOrder);
        try
        {
            file.OpenHandle(file.Find(), cancellationToken);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Gives the complete file its name, and the mode of the file that it replaces.</summary>
    /// <exception cref="CommandException">It cannot be renamed.</exception>
    public void Complete()
    {
        if (_staged is null)
        {
            return;
        }
        if ((_mode is uint mode && FileCalls.SetMode((int)Handle.DangerousGetHandle(), mode) < 0) || FileCalls.Rename(_directory, _staged, _directory, _name) < 0)
        {
            throw Failure(Marshal.GetLastPInvokeErrorMessage());
        }
        _staged = null;
    }

    public void Dispose()
    {
        Handle.Dispose();
        if (_staged is not null)
        {
            _ = FileCalls.Unlink(_directory, _staged, 0);
            _staged = null;
        }
        if (_directory >= 0)
        {
            _ = FileCalls.Close(_directory);
            _directory = -1;
        }
    }

    /// <summary>What is there, if it can be written; null when nothing is.</summary>
    private FileStatus? Find()
    {
        FileStatus? there = FollowLinks();
        if (_inAnyOrder && there is { Type: not FileCalls.RegularFile and var type })
        {
            string what = type == FileCalls.SymbolicLink ? "it is a file that is open already" : "it is not a regular file";
            throw Failure($"{what}, and a file system image is not written in order; name another file");
        }
        return there;
    }

    /// <summary>Follows links until <see cref="_directory"/> and <see cref="_name"/> are where the file stands; what is there, or null.</summary>
    private FileStatus? FollowLinks()
    {
        for (int links = 0; links <= MaxLinks;)
        {
            if (_name is [0] or [(byte)'.', 0] or [(byte)'.', (byte)'.', 0])
            {
                throw Failure("it is a directory; name a file in it");
            }
            if (FileCalls.GetStatus(_directory, _name, FileCalls.NoFollow, out FileStatus status) < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                return errno != FileCalls.ENOENT ? throw Failure(Marshal.GetPInvokeErrorMessage(errno))
                    : IsDescriptor(out _) ? throw Failure("no file is open under this number")
                    : null;
            }
            switch (status.Type)
            {
                case FileCalls.Directory:
                    throw Failure("it is a directory; name a file in it");
                case FileCalls.SymbolicLink when IsDescriptor(out _):
                    return status;
                case FileCalls.SymbolicLink:
                    // The link is looked at and read through one descriptor, for its name may be given to another one in between.
                    int link = FileCalls.OpenPath(_directory, _name);
                    bool isLink = link >= 0 && FileCalls.GetStatus(link, out status) == 0 && status.Type == FileCalls.SymbolicLink;
                    byte[]? target = isLink && (status.Owner == 0 || status.Owner == FileCalls.EffectiveUser()) ? FileCalls.ReadLink(link) : null;
                    _ = FileCalls.Close(link);
                    if (isLink && target is null)
                    {
                        return null;
                    }
                    if (isLink)
                    {
                        Follow(target![..^1]);
                    }
                    links++;
                    break;
                default:
                    return status;
            }
        }
        throw Failure("too many levels of symbolic links");
    }

    private void Follow(byte[] target)
    {
        (byte[] path, _name) = Split(target);
        int next = FileCalls.OpenDirectoryBehind(_directory, path);
        if (next < 0)
        {
            throw Failure($"the symbolic link leads to '{ImagePathText.Decode(target)}': {Marshal.GetLastPInvokeErrorMessage()}");
        }
        _ = FileCalls.Close(_directory);
        _directory = next;
    }

    // Of this process, as /dev/stdout and /dev/fd/3 lead to: opened again, a file would be written from its beginning.
    private bool IsDescriptor(out int descriptor)
    {
        string name = ImagePathText.Decode(_name.AsSpan(..^1));
        return int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out descriptor)
            && FileCalls.GetStatus(_directory, out FileStatus here) == 0
            && FileCalls.GetStatus(FileCalls.CurrentDirectory, "/proc/self/fd\0"u8, 0, out FileStatus own) == 0
            && (here.Device, here.Inode) == (own.Device, own.Inode);
    }

    private void OpenHandle(FileStatus? there, CancellationToken cancellationToken)
    {
        int file;
        if (there?.Type == FileCalls.SymbolicLink && IsDescriptor(out int descriptor))
        {
            file = FileCalls.Duplicate(descriptor);
        }
        else if (there is { Type: FileCalls.Fifo })
        {
            file = OpenPipe(cancellationToken);
        }
        else if (there is { Type: not FileCalls.RegularFile })
        {
            file = FileCalls.OpenToWrite(_directory, _name);
        }
        else
        {
            // Private until it is complete, if it is to replace what may be private. Another user's file does not tell who may write to ours.
            _mode = there is { } old ? old.Mode & 0x1FF & (old.Owner == FileCalls.EffectiveUser() ? ~0u : ~Unsafe) : null;
            byte[] staged = ImagePathText.Encode($".lazymount-{Guid.NewGuid():N}.tmp\0");
            file = FileCalls.CreateFile(_directory, staged, _mode is null ? 0x1B6u /* 0666 and the umask */ : 0x180u);
            _staged = file < 0 ? null : staged;
        }
        Handle = file >= 0 ? new SafeFileHandle(file, ownsHandle: true) : throw Failure(Marshal.GetLastPInvokeErrorMessage());
    }

    // Asked for again and again: a call that waits for the reader does not end when the user wants it to.
    private int OpenPipe(CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int file = FileCalls.OpenToWrite(_directory, _name, waits: false);
            if (file >= 0 || Marshal.GetLastPInvokeError() != FileCalls.ENXIO)
            {
                return file;
            }
            cancellationToken.WaitHandle.WaitOne(s_readerMayCome);
        }
    }

    /// <summary>The directory and the name in it, each with a zero byte at its end. The name is empty when the path ends with a slash.</summary>
    private static (byte[] Directory, byte[] Name) Split(ReadOnlySpan<byte> path)
    {
        int slash = path.LastIndexOf((byte)'/');
        ReadOnlySpan<byte> directory = slash < 0 ? "."u8 : slash == 0 ? "/"u8 : path[..slash];
        return ([.. directory, 0], [.. path[(slash + 1)..], 0]);
    }

    private CommandException Failure(string reason) => new($"cannot write '{_path}': {reason}");
}
