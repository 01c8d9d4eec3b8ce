using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Exporting;
using LazyMount.Output;
using LazyMount.Trees;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Commands;

/// <summary>`lazymount export`: the merged tree as one tar.</summary>
internal static class ExportCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var output = new Option<string?>("--output", "-o") { Description = "Write to this file, which is there when it is complete [standard output]", HelpName = "FILE" };
        var verb = new Verb("export", "Write the files of an image as one tar, as docker export does of a container: those that are left when the layers are merged.",
            """
            lazymount export debian:12 | docker import - flat
            lazymount export -o rootfs.tar oci:./layout:v1
            lazymount export debian:12 | tar --extract --xattrs --xattrs-include='*' --numeric-owner -C rootfs
            """)
        { image, output, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string? file = parsed.GetValue(output) switch
            {
                "-" => null,
                "" => throw new UsageException("-o needs a file name"),
                { } name when Directory.Exists(name) => throw new CommandException($"cannot write '{name}': it is a directory; name a file in it"),
                { } name when Path.GetDirectoryName(Path.GetFullPath(name)) is { } directory && !Directory.Exists(directory)
                    => throw new CommandException($"cannot write '{name}': there is no directory '{directory}'; make it first"),
                var name => name,
            };
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

    // Under another name until it is complete, then in the place of what a link leads to, with the mode of what was there. What
    // is no regular file, such as a pipe or /dev/null, is written to as it is.
    private static async Task ExportToFileAsync(OpenedTree opened, string file, CommandHost host, CancellationToken cancellationToken)
    {
        bool isSpecial = Interop.TypeOf(file) is not (0 or Interop.RegularFile);
        var named = new FileInfo(Path.GetFullPath(file));
        string target = !isSpecial && named.LinkTarget is not null ? named.ResolveLinkTarget(returnFinalTarget: true)!.FullName : named.FullName;
        string staged = isSpecial ? file : Path.Combine(Path.GetDirectoryName(target)!, $".lazymount-{Guid.NewGuid():N}.tmp");
        // Opening a pipe waits for its reader, who may never come.
        using SafeFileHandle handle = await Task.Run(() => Interop.OpenOutput(staged, !isSpecial, file), CancellationToken.None).WaitAsync(cancellationToken);
        try
        {
            await using (var stream = new BufferedStream(new StandardStream(handle, $"'{file}'", cancellationToken), 256 << 10))
            {
                await ExportAsync(opened, stream, host, cancellationToken);
            }
            if (isSpecial)
            {
                return;
            }
            if (!OperatingSystem.IsWindows() && File.Exists(target))
            {
                File.SetUnixFileMode(handle, File.GetUnixFileMode(target));
            }
            File.Move(staged, target, overwrite: true);
        }
        catch when (!isSpecial)
        {
            File.Delete(staged);
            throw;
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
