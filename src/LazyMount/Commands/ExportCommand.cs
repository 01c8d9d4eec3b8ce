using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Exporting;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount export`: the merged tree as one tar.</summary>
internal static class ExportCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var output = new Option<string?>("--output", "-o") { Description = "Write to this file; it appears when it is complete [standard output]", HelpName = "FILE" };
        var verb = new Verb("export", "Write the merged files of an image as one tar archive, as docker export does for a container.",
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
                var name => name,
            };
            if (file is not null)
            {
                OutputFile.Check(file);
            }
            if (file is null && host.Output.IsTerminal)
            {
                throw new UsageException("export does not write a tar archive to a terminal: redirect the output, or name a file with -o");
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

    private static async Task ExportToFileAsync(OpenedTree opened, string path, CommandHost host, CancellationToken cancellationToken)
    {
        // Opening a pipe waits for its reader, who may never come.
        using OutputFile file = await Task.Run(() => OutputFile.Open(path), CancellationToken.None).WaitAsync(cancellationToken);
        await using (var stream = new BufferedStream(new StandardStream(file.Handle, $"'{path}'", cancellationToken), 256 << 10))
        {
            await ExportAsync(opened, stream, host, cancellationToken);
        }
        file.Complete();
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
