using System.CommandLine;
using LazyMount.Cli;
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
            using UnpackDirectory target = UnpackDirectory.Open(path);
            FileOwners owners = parsed.GetValue(rootless) ? FileOwners.OfCallerRecorded : FileOwners.OfImage;
            return await new UnpackRun(host, "unpack", "unpacking").RunAsync(opened, new TreePaths(opened.Tree), target, path, owners, cancellationToken);
        });
        return verb;
    }
}
