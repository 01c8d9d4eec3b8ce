using System.CommandLine;
using LazyMount.Exporting;
using LazyMount.Output;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Commands;

/// <summary>`lazymount export`: the merged tree as one tar.</summary>
internal static class ExportCommand
{
    public static Command Create(CommandHost host)
    {
        var image = Verb.ImageArgument();
        var output = new Option<string?>("--output", "-o") { Description = "Write to this file [standard output]", HelpName = "FILE" };
        var verb = new Verb("export", "Write the files of an image as one tar, as docker export does of a container: those that are left when the layers are merged.",
            """
            lazymount export debian:12 | docker import - flat
            lazymount export -o rootfs.tar oci:./layout:v1
            lazymount export debian:12 | tar --extract --xattrs --xattrs-include='*' --numeric-owner -C rootfs
            """)
        { image, output, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string? file = parsed.GetValue(output);
            if (file is not null)
            {
                EnsureUsable(file);
            }
            if (file is null && host.Output.IsTerminal)
            {
                throw new UsageException("export writes a tar, which is nothing for a terminal: redirect the output, or name a file with -o");
            }
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            if (file is null)
            {
                await ExportAsync(opened, host.Output.Stream, host, cancellationToken);
            }
            else
            {
                await ExportToFileAsync(opened, file, host, cancellationToken);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    /// <summary>Before anything is fetched.</summary>
    private static void EnsureUsable(string file)
    {
        if (file.Length == 0)
        {
            throw new UsageException("-o needs a file name");
        }
        if (Directory.Exists(file))
        {
            throw new CommandException($"cannot write '{file}': it is a directory; name a file in it");
        }
        if (Path.GetDirectoryName(Path.GetFullPath(file)) is { } directory && !Directory.Exists(directory))
        {
            throw new CommandException($"cannot write '{file}': there is no directory '{directory}'; make it first");
        }
    }

    // Under another name until it is complete. What is no regular file, such as a pipe or /dev/null, is written to as it is.
    private static async Task ExportToFileAsync(OpenedTree opened, string file, CommandHost host, CancellationToken cancellationToken)
    {
        bool isSpecial = File.Exists(file) && !Interop.IsRegularFile(file);
        string staged = isSpecial ? file : $"{file}.{Guid.NewGuid():N}.tmp";
        SafeFileHandle handle = Open(staged, isSpecial, file);
        try
        {
            using (handle)
            {
                await using var stream = new BufferedStream(new StandardStream(handle), 256 << 10);
                await ExportAsync(opened, stream, host, cancellationToken);
                await stream.FlushAsync(CancellationToken.None);
            }
            if (!isSpecial)
            {
                File.Move(staged, file, overwrite: true);
            }
        }
        catch when (!isSpecial)
        {
            File.Delete(staged);
            throw;
        }
    }

    private static SafeFileHandle Open(string staged, bool isSpecial, string file)
    {
        try
        {
            return File.OpenHandle(staged, isSpecial ? FileMode.Open : FileMode.CreateNew, FileAccess.Write);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException($"cannot write '{file}': {(e is UnauthorizedAccessException ? "permission denied; name a file in a directory of yours" : e.Message)}", ExitCode.Failed, e);
        }
    }

    private static async Task ExportAsync(OpenedTree opened, Stream stream, CommandHost host, CancellationToken cancellationToken)
    {
        var progress = new TransferProgress(("exporting", opened.Tree.TotalFileSize));
        Task work = Task.Run(() => new TreeExporter(opened.Image, stream).ExportAsync(bytes => progress.Report(0, bytes), cancellationToken), CancellationToken.None);
        try
        {
            await (host.ErrorIsTerminal ? progress.ShowWhile(work, host.Error) : work);
        }
        catch (InvalidDataException e)
        {
            throw new CommandException($"cannot export {opened.Image.Image.Reference}: {e.Message}", ExitCode.Failed, e);
        }
    }
}
