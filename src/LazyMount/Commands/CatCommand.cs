using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount cat`: files of an image on standard output; only their bytes are fetched.</summary>
internal static class CatCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var paths = Verb.PathsArgument();
        var verb = new Verb("cat", "Write files of an image to standard output, byte for byte.",
            """
            lazymount cat debian:12 /etc/os-release
            lazymount cat alpine /lib/apk/db/installed | grep ^P:
            """)
        { image, paths, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            int exitCode = ExitCode.Done;
            foreach (string path in parsed.GetRequiredValue(paths))
            {
                try
                {
                    await opened.CopyAsync(path, host.Output, cancellationToken);
                }
                catch (CommandException e)
                {
                    // As cat(1) does: the other files are still wanted.
                    exitCode = Math.Max(exitCode, host.Report(e, settings));
                }
            }
            return exitCode;
        });
        return verb;
    }
}
