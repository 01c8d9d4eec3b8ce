using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Unpacking;

/// <summary>
/// Runs a <see cref="TreeUnpacker"/> for a command: shows progress, removes what was written when it fails or is interrupted, and says what
/// the files on disk lack.
/// </summary>
/// <param name="host">Where messages go.</param>
/// <param name="name">The command.</param>
/// <param name="bar">What the progress bar says.</param>
internal sealed class UnpackRun(CommandHost host, string name, string bar)
{
    /// <param name="opened">The image.</param>
    /// <param name="paths">What to write of it.</param>
    /// <param name="directory">Where to; not owned.</param>
    /// <param name="path">The directory as the user named it.</param>
    /// <param name="owners">Whose the files will be.</param>
    /// <param name="cancellationToken">Interrupts it.</param>
    /// <returns>The exit code: failed, as that of cp(1), if the files are there and some lack their owner or an attribute.</returns>
    /// <exception cref="CommandException">It failed, and what it had written is removed.</exception>
    public async Task<int> RunAsync(OpenedTree opened, TreePaths paths, UnpackDirectory directory, string path, FileOwners owners, CancellationToken cancellationToken)
    {
        using var unpacker = new TreeUnpacker(opened.Image, paths, directory, owners);
        try
        {
            var progress = new TransferProgress((bar, unpacker.ContentSize));
            Task work = Task.Run(() => unpacker.UnpackAsync(bytes => progress.Report(0, bytes), cancellationToken), CancellationToken.None);
            await host.ShowWhileAsync(progress, work);
        }
        catch (CommandException)
        {
            directory.TryRemove(); // nothing was written
            throw;
        }
        catch (Exception e)
        {
            string rest = CleanUp(unpacker, directory, path);
            if (e is OperationCanceledException)
            {
                host.Error.WriteLine($"lazymount: {name} was interrupted; {rest}");
                throw;
            }
            if (Failure.IsExpected(e) || e is InvalidDataException)
            {
                throw new CommandException($"cannot {name} '{opened.Image.Image.Reference}' into '{path}': {e.Message.TrimEnd('.')}; {rest}", Failure.ExitCodeOf(e), e);
            }
            throw;
        }
        TellWhatDiffers(unpacker);
        return unpacker.Refusals.Count > 0 ? ExitCode.Failed : ExitCode.Done;
    }

    // In words for the end of a sentence.
    private string CleanUp(TreeUnpacker unpacker, UnpackDirectory directory, string path)
        => unpacker.TryRemove(host.Signals?.Again ?? default) && directory.TryRemove() ? "what had been written is removed again"
            : directory.MayHoldNames ? $"some of what has been written is left in '{path}'"
            : $"what has been written is left in '{path}' and is not complete: remove it";

    private void TellWhatDiffers(TreeUnpacker unpacker)
    {
        foreach (string refusal in unpacker.Refusals)
        {
            host.Error.WriteLine($"lazymount: {CommandOutput.Displayable(refusal)}");
        }
        if (unpacker.RefusedOwners + unpacker.RefusedXattrs - unpacker.Refusals.Count is > 0 and int more)
        {
            host.Error.WriteLine($"lazymount: cannot set the owner or an attribute of more files ({more} times)");
        }
        if (unpacker.RefusedOwners > 0)
        {
            host.Error.WriteLine($"lazymount: note: {unpacker.RefusedOwners} file(s) belong to the caller, because this user namespace or file system does not know their owners; 'podman unshare' runs a command with more of them");
        }
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
