using System.CommandLine;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Exporting;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount export`: the merged tree as one tar, or as an EROFS image.</summary>
internal static class ExportCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var output = new Option<string?>("--output", "-o") { Description = "Write to this file; it appears when it is complete [standard output]", HelpName = "FILE" };
        var format = new Option<string?>("--format") { Description = "What to write: tar, or erofs: a file system image that Linux mounts (needs -o) [tar]", HelpName = "tar|erofs" };
        var verb = new Verb("export", "Write the files of an image as a tar archive or a file system image. The tar archive is what docker export writes for a container.",
            """
            lazymount export debian:12 | docker import - flat
            lazymount export -o rootfs.tar oci:./layout:v1
            lazymount export debian:12 | tar --extract --xattrs --xattrs-include='*' --numeric-owner -C rootfs
            lazymount export --format erofs -o rootfs.erofs debian:12 && mount -o loop rootfs.erofs /mnt
            """)
        { image, output, format, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string? file = parsed.GetValue(output) switch
            {
                "-" => null,
                "" => throw new UsageException("-o needs a file name"),
                var name => name,
            };
            bool isErofs = parsed.GetValue(format) switch
            {
                null or "tar" => false,
                "erofs" => true,
                string other => throw new UsageException($"--format '{other}' is neither tar nor erofs"),
            };
            if (file is not null)
            {
                OutputFile.Check(file);
            }
            if (isErofs && file is null)
            {
                throw new UsageException("--format erofs does not write to standard output, because the image is not written in order: name a file with -o");
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
                await (isErofs ? ExportErofsAsync(opened, file, host, cancellationToken) : ExportToFileAsync(opened, file, host, cancellationToken));
            }
            return ExitCode.Done;
        });
        return verb;
    }

    private static async Task ExportToFileAsync(OpenedTree opened, string path, CommandHost host, CancellationToken cancellationToken)
    {
        using OutputFile file = await OpenAsync(path, cancellationToken);
        await using (var stream = new BufferedStream(new StandardStream(file.Handle, $"'{path}'", cancellationToken), 256 << 10))
        {
            await ExportAsync(opened, stream, host, cancellationToken);
        }
        file.Complete();
    }

    private static async Task ExportErofsAsync(OpenedTree opened, string path, CommandHost host, CancellationToken cancellationToken)
    {
        if (FileIdentity.TryOf(path) is { Kind: FileKind.Other })
        {
            throw NotRegular(path);
        }
        using OutputFile file = await OpenAsync(path, cancellationToken);
        if (!file.IsRegular)
        {
            throw NotRegular(path);
        }
        try
        {
            await ShowAsync(opened, progress => new ErofsExporter(opened.Image, file.Handle).ExportAsync(progress, cancellationToken), host);
        }
        catch (IOException e)
        {
            throw new CommandException($"cannot write '{path}': {FileProblem.Reason(e)}", ExitCode.Failed, e);
        }
        file.Complete();
    }

    // Opening a pipe waits for its reader, who may never come.
    private static Task<OutputFile> OpenAsync(string path, CancellationToken cancellationToken)
        => Task.Run(() => OutputFile.Open(path), CancellationToken.None).WaitAsync(cancellationToken);

    private static CommandException NotRegular(string path)
        => new($"cannot write '{path}': it is not a regular file, and a file system image is not written in order; name another file");

    private static Task ExportAsync(OpenedTree opened, Stream stream, CommandHost host, CancellationToken cancellationToken)
        => ShowAsync(opened, progress => new TreeExporter(opened.Image, stream).ExportAsync(progress, cancellationToken), host);

    private static async Task ShowAsync(OpenedTree opened, Func<Action<long>, Task> export, CommandHost host)
    {
        var progress = new TransferProgress(("exporting", opened.Tree.TotalFileSize));
        Task work = Task.Run(() => export(bytes => progress.Report(0, bytes)), CancellationToken.None);
        try
        {
            await host.ShowWhileAsync(progress, work);
        }
        catch (InvalidDataException e)
        {
            throw new CommandException($"cannot export {opened.Image.Image.Reference}: {e.Message}", ExitCode.Failed, e);
        }
    }
}
