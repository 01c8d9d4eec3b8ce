using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Copying;
using LazyMount.Exporting;
using LazyMount.Trees;
using LazyMount.Unpacking;

namespace LazyMount.Commands;

/// <summary>`lazymount cp`: files and trees of an image as files on disk, or as a tar; only their bytes are fetched.</summary>
internal static class CpCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var words = new Argument<string[]>("PATH... DEST")
        {
            Description = "Paths inside the image, and a directory, a new name for one of them, or - for a tar archive on standard output",
            Arity = ArgumentArity.OneOrMore,
        };
        var dereference = new Option<bool>("--dereference", "-L") { Description = "Follow a symlink at the end of a path" };
        var verb = new Verb("cp",
            "Copy files and directories out of an image. Modes, times, links and extended attributes are kept as by cp -a, and for root owners and devices; without root, files lose set-user-ID and set-group-ID bits. "
            + "A PATH that ends in /. means all that is in the directory. A file or symlink that is there already is replaced, a directory gets the new files too, and nothing is copied if another thing is in the way. "
            + "To search in files, mount the image and use grep.",
            """
            lazymount cp debian:12 /etc/os-release .
            lazymount cp app:v1 /app/bin /app/lib out/
            lazymount cp app:v1 /etc/nginx/. ./nginx
            lazymount cp app:v1 /etc - | tar --list --verbose
            """)
        {
            Usage = "[OPTION...] IMAGE PATH... DEST",
        };
        verb.Add(image);
        verb.Add(words);
        verb.Add(dereference);
        verb.Add(host.Options.Layer);
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string[] given = parsed.GetRequiredValue(words);
            (string[] paths, string target) = (given[..^1], given[^1]);
            if (target.Length == 0 || paths.Length == 0)
            {
                throw new UsageException("cp needs a destination behind the paths: a directory, a new name, or - for a tar archive on standard output");
            }
            if (target == "-" && host.Output.IsTerminal)
            {
                throw new UsageException("cp does not write a tar archive to a terminal: redirect the output, or name a file or a directory");
            }
            CopyDestination? destination = target == "-" ? null : CopyDestination.Find(target, paths.Length);
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            TreePaths selection = CopySelection.Find(opened, paths, parsed.GetValue(dereference), destination);
            if (destination is null)
            {
                await TarRun.RunAsync(opened, selection, host.Output.Stream, "copying", host, cancellationToken);
                return ExitCode.Done;
            }
            using UnpackDirectory directory = UnpackDirectory.OpenFilled(destination.Directory);
            FileOwners owners = Environment.IsPrivilegedProcess ? FileOwners.OfImage : FileOwners.OfCaller;
            return await new UnpackRun(host, "copy", "copying").RunAsync(opened, selection, directory, destination.Directory, owners, cancellationToken);
        });
        return verb;
    }
}
