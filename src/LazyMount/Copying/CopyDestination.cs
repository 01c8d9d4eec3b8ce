using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Files;

namespace LazyMount.Copying;

/// <summary>What the DEST of `cp` means: a directory to copy into, or a new name in one.</summary>
/// <param name="Path">What the user wrote.</param>
/// <param name="Directory">A directory that is there.</param>
/// <param name="Name">The name that the one copy gets in it; null when each keeps its own.</param>
/// <param name="NeedsDirectory">Only a directory can be copied to that name: a slash stands behind it.</param>
internal sealed record CopyDestination(string Path, string Directory, byte[]? Name, bool NeedsDirectory)
{
    /// <summary>Looks at what is there, before anything is fetched. Symbolic links that the user names are followed to a directory, and to nothing else.</summary>
    /// <param name="path">DEST.</param>
    /// <param name="count">How many things are copied.</param>
    /// <exception cref="CommandException">Nothing can be copied there.</exception>
    public static CopyDestination Find(string path, int count)
    {
        byte[] bytes = ImagePathText.Encode(path);
        int error = FileCalls.GetStatus(FileCalls.CurrentDirectory, [.. bytes, 0], 0, out FileStatus there) < 0 ? Marshal.GetLastPInvokeError() : 0;
        if (error == 0 && there.Type == FileCalls.Directory)
        {
            CheckWritable(path, path);
            return new CopyDestination(path, path, null, false);
        }
        if (FileCalls.GetStatus(FileCalls.CurrentDirectory, [.. bytes, 0], FileCalls.NoFollow, out FileStatus link) == 0 && link.Type == FileCalls.SymbolicLink)
        {
            // Such as /dev/stdout, which must not be replaced.
            throw Refusal(path, "it is a symbolic link; remove it, or name the file that it leads to");
        }
        ReadOnlySpan<byte> trimmed = bytes.AsSpan().TrimEnd((byte)'/');
        bool endsInSlash = trimmed.Length < bytes.Length;
        if (error is not (0 or FileCalls.ENOENT))
        {
            throw Refusal(path, error == FileCalls.ENOTDIR && endsInSlash ? "it is not a directory" : Marshal.GetPInvokeErrorMessage(error));
        }
        if (count > 1)
        {
            throw Refusal(path, error == 0 ? "it is not a directory, and only a directory takes several files" : FileProblem.NoDirectory(path));
        }
        if (error == 0 && there.Type != FileCalls.RegularFile)
        {
            throw Refusal(path, "it is not a regular file; name another one, or - for a tar archive on standard output");
        }
        int slash = trimmed.LastIndexOf((byte)'/');
        byte[] name = trimmed[(slash + 1)..].ToArray();
        string parent = slash < 0 ? "." : slash == 0 ? "/" : ImagePathText.Decode(trimmed[..slash]);
        if (name is [(byte)'.'] or [(byte)'.', (byte)'.'])
        {
            throw Refusal(path, FileProblem.NoDirectory(parent));
        }
        CheckWritable(path, parent);
        return new CopyDestination(path, parent, name, endsInSlash);
    }

    /// <summary>Says that nothing can be copied to what the user named.</summary>
    public CommandException Refusal(string reason) => Refusal(Path, reason);

    private static CommandException Refusal(string path, string reason) => new($"cannot copy to '{path}': {reason}");

    private static void CheckWritable(string path, string directory)
    {
        int opened = FileCalls.OpenRoot([.. ImagePathText.Encode(directory), 0]);
        if (opened < 0)
        {
            throw Refusal(path, Marshal.GetLastPInvokeError() == FileCalls.ENOENT
                ? FileProblem.NoDirectory(directory)
                : $"cannot open the directory '{directory}': {Marshal.GetLastPInvokeErrorMessage()}");
        }
        bool isWritable = FileCalls.IsWritable(opened);
        int errno = Marshal.GetLastPInvokeError();
        _ = FileCalls.Close(opened);
        if (!isWritable)
        {
            throw Refusal(path, FileProblem.NotWritable(errno));
        }
    }
}
