using System.CommandLine;
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
        var directory = new Argument<string>("DIR") { Description = "An empty directory, or one to make with its parents" };
        var rootless = new Option<bool>("--rootless")
        {
            Description = "Do not change owners: all files belong to the caller, devices become empty files, and the attribute user.rootlesscontainers records the owner [yes, unless root]",
            DefaultValueFactory = _ => !Environment.IsPrivilegedProcess,
        };
        var verb = new Verb("unpack", "Write the files of an image into a directory. Owners, modes, times, links, devices and extended attributes are kept as far as the user may set them.",
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
            UnpackDirectory.Check(path);
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            await UnpackAsync(opened, path, parsed.GetValue(rootless), host, cancellationToken);
            return ExitCode.Done;
        });
        return verb;
    }

    private static async Task UnpackAsync(OpenedTree opened, string path, bool rootless, CommandHost host, CancellationToken cancellationToken)
    {
        using UnpackDirectory directory = UnpackDirectory.Open(path);
        using var unpacker = new TreeUnpacker(opened.Image, directory, rootless);
        try
        {
            var progress = new TransferProgress(("unpacking", opened.Tree.TotalFileSize));
            Task work = Task.Run(() => unpacker.UnpackAsync(bytes => progress.Report(0, bytes), cancellationToken), CancellationToken.None);
            await host.ShowWhileAsync(progress, work);
        }
        catch (Exception e)
        {
            string rest = CleanUp(unpacker, directory, path, host);
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

    // In words for the end of a sentence.
    private static string CleanUp(TreeUnpacker unpacker, UnpackDirectory directory, string path, CommandHost host)
        => unpacker.TryRemove(host.Signals?.Again ?? default) && directory.TryRemove()
            ? "what had been written is removed again"
            : $"what has been written is left in '{path}' and is not complete: remove it";

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
