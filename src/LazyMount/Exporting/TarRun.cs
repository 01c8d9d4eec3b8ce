using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Exporting;

/// <summary>Runs an exporter for a command: shows progress, and puts failures in words.</summary>
internal static class TarRun
{
    /// <summary>Writes a part of a tree as a tar (<see cref="TreeExporter"/>).</summary>
    public static Task RunAsync(OpenedTree opened, TreePaths paths, Stream stream, string bar, CommandHost host, CancellationToken cancellationToken)
    {
        var exporter = new TreeExporter(opened.Image, paths, stream);
        return ShowAsync(opened, bar, exporter.ContentSize, progress => exporter.ExportAsync(progress, cancellationToken), host);
    }

    /// <summary>Runs an export.</summary>
    /// <param name="opened">The image.</param>
    /// <param name="bar">What the progress bar says.</param>
    /// <param name="total">How many bytes will be written.</param>
    /// <param name="export">The export; it is given what takes the number of bytes that are done.</param>
    /// <param name="host">Where progress goes.</param>
    /// <exception cref="CommandException">The image cannot be exported.</exception>
    public static async Task ShowAsync(OpenedTree opened, string bar, long total, Func<Action<long>, Task> export, CommandHost host)
    {
        var progress = new TransferProgress((bar, total));
        Task work = Task.Run(() => export(bytes => progress.Report(0, bytes)), CancellationToken.None);
        try
        {
            await host.ShowWhileAsync(progress, work);
        }
        catch (InvalidDataException e)
        {
            throw new CommandException($"cannot export '{opened.Image.Image.Reference}': {e.Message}", ExitCode.Failed, e);
        }
    }
}
