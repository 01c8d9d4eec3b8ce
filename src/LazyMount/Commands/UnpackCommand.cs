using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.Trees;
using LazyMount.Unpacking;

namespace LazyMount.Commands;

/// <summary>`lazymount unpack`: the merged tree as files on disk.</summary>
internal static class UnpackCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var directory = new Argument<string>("DIR") { Description = "Where to: an empty directory, or one to make" };
        var rootless = new Option<bool>("--rootless")
        {
            Description = "Write as a user who is not root would: all files are the caller's, devices become empty files, owners are kept as user.rootlesscontainers attributes",
            DefaultValueFactory = _ => !Environment.IsPrivilegedProcess,
        };
        var verb = new Verb("unpack", "Write the files of an image into a directory: those that are left when the layers are merged, with owners, modes, times, links, devices and extended attributes.",
            """
            lazymount unpack debian:12 rootfs
            lazymount unpack --layer -1 app:v2 what-the-last-layer-adds
            """)
        { image, directory, rootless, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string path = parsed.GetRequiredValue(directory);
            if (path.Length == 0)
            {
                throw new UsageException("unpack needs a directory");
            }
            EnsureUsable(path, path);
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            await UnpackAsync(opened, path, parsed.GetValue(rootless), host, cancellationToken);
            return ExitCode.Done;
        });
        return verb;
    }

    /// <summary>Before anything is fetched.</summary>
    private static void EnsureUsable(string directory, string name)
    {
        if (File.Exists(directory))
        {
            throw new CommandException($"cannot unpack into '{name}': it is not a directory");
        }
        if (Directory.Exists(directory) && Directory.EnumerateFileSystemEntries(directory).Any())
        {
            throw new CommandException($"cannot unpack into '{name}': it is not empty; name an empty directory or one that is not there yet");
        }
    }

    private static async Task UnpackAsync(OpenedTree opened, string path, bool rootless, CommandHost host, CancellationToken cancellationToken)
    {
        byte[] zeroEnded = Encoding.UTF8.GetBytes(path + '\0');
        bool made = FileCalls.MakeDirectory(FileCalls.CurrentDirectory, zeroEnded, 0x1C0) == 0;
        if (!made && Marshal.GetLastPInvokeError() != FileCalls.EEXIST)
        {
            throw new CommandException($"cannot make the directory '{path}': {Marshal.GetLastPInvokeErrorMessage()}");
        }
        int root = FileCalls.OpenRoot(zeroEnded);
        if (root < 0)
        {
            throw new CommandException($"cannot open the directory '{path}': {Marshal.GetLastPInvokeErrorMessage()}");
        }
        try
        {
            if (!made)
            {
                EnsureUsable($"/proc/self/fd/{root}", path);
            }
            if (!FileCalls.IsWritable(root))
            {
                throw new CommandException($"cannot unpack into '{path}': {Marshal.GetLastPInvokeErrorMessage()}");
            }
            using var unpacker = new TreeUnpacker(opened.Image, root, rootless);
            try
            {
                var progress = new TransferProgress(("unpacking", opened.Tree.TotalFileSize));
                Task work = Task.Run(() => unpacker.UnpackAsync(bytes => progress.Report(0, bytes), cancellationToken), CancellationToken.None);
                await (host.ErrorIsTerminal ? progress.ShowWhile(work, host.Error) : work);
            }
            catch (Exception e)
            {
                string rest = CleanUp(unpacker, path, made, host);
                if (e is OperationCanceledException)
                {
                    host.Error.WriteLine($"lazymount: unpack was interrupted; {rest}");
                    throw;
                }
                if (Failure.IsExpected(e) || e is InvalidDataException)
                {
                    throw new CommandException($"cannot unpack {opened.Image.Image.Reference} into '{path}': {e.Message.TrimEnd('.')}; {rest}", Failure.ExitCodeOf(e), e);
                }
                throw;
            }
            TellWhatDiffers(unpacker, host);
        }
        finally
        {
            _ = FileCalls.Close(root);
        }
    }

    // In words for the end of a sentence.
    private static string CleanUp(TreeUnpacker unpacker, string path, bool made, CommandHost host)
    {
        bool removed = unpacker.TryRemove(host.Signals?.Again ?? default);
        if (removed && made)
        {
            removed = FileCalls.Unlink(FileCalls.CurrentDirectory, Encoding.UTF8.GetBytes(path + '\0'), FileCalls.RemoveDirectory) == 0;
        }
        return removed ? "what had been written is removed again" : $"what has been written is left in '{path}' and is not complete: remove it";
    }

    private static void TellWhatDiffers(TreeUnpacker unpacker, CommandHost host)
    {
        if (unpacker.FakedDevices > 0)
        {
            host.Error.WriteLine($"lazymount: note: {unpacker.FakedDevices} device(s) became empty files, for only root can make devices");
        }
        if (unpacker.SkippedXattrs > 0)
        {
            host.Error.WriteLine($"lazymount: note: {unpacker.SkippedXattrs} extended attribute(s) could not be set, for want of a privilege or because the file system has none");
        }
    }
}
