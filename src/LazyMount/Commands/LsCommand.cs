using System.CommandLine;
using System.CommandLine.Parsing;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Listing;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Commands;

/// <summary>`lazymount ls`: the names in directories of an image, as ls(1) shows them, without mounting.</summary>
internal static class LsCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var paths = new Argument<string[]>("PATH") { Description = "Paths inside the image [/]", Arity = ArgumentArity.ZeroOrMore };
        var isLong = new Option<bool>("--long", "-l") { Description = "Show type, mode, links, numeric owner and group, size and time (UTC) as well" };
        var numeric = new Option<bool>("--numeric-uid-gid", "-n") { Description = "As -l: owners and groups are numbers there too" };
        var recursive = new Option<bool>("--recursive", "-R") { Description = "List subdirectories too" };
        var all = new Option<bool>("--all", "-a") { Description = "Show names that begin with a dot, and . and .." };
        var almostAll = new Option<bool>("--almost-all", "-A") { Description = "Show names that begin with a dot" };
        var directory = new Option<bool>("--directory", "-d") { Description = "List directories themselves, not what is in them" };
        var human = new Option<bool>("--human-readable", "-h") { Description = "With -l, write sizes such as 1.5M" };
        var byTime = new Option<bool>("-t") { Description = "Sort by modification time, the newest first" };
        var bySize = new Option<bool>("-S") { Description = "Sort by size, the largest first" };
        var reverse = new Option<bool>("--reverse", "-r") { Description = "Reverse the order" };
        var inode = new Option<bool>("--inode", "-i") { Description = "Show inode numbers" };
        var onePerLine = new Option<bool>("-1") { Description = "Write a name a line [columns on a terminal]" };
        var color = ColorOption.Create();
        var json = JsonOption.Lines(() => ListingJson.Default.EntryListing, "; also of names that begin with a dot");
        var verb = new Verb("ls", "List directories of an image.",
            """
            lazymount ls debian:12 /etc
            lazymount ls -lh debian:12 /bin/sh /usr/bin
            lazymount ls -lR oci:./layout:v1 /usr/share/doc
            lazymount ls --json debian:12 /bin/ | jq -r 'select(.type == "symlink") | .name'
            """)
        { image, paths, isLong, numeric, recursive, all, almostAll, directory, human, byTime, bySize, reverse, inode, onePerLine, color, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            bool isJson = parsed.GetValue(json);
            var style = new ListingStyle
            {
                IsLong = parsed.GetValue(isLong) || parsed.GetValue(numeric),
                ShowsHidden = parsed.GetValue(all) || parsed.GetValue(almostAll) || isJson,
                ShowsDots = parsed.GetValue(all) && !isJson,
                ListsDirectories = parsed.GetValue(directory),
                IsRecursive = parsed.GetValue(recursive) && !parsed.GetValue(directory),
                ShowsInodes = parsed.GetValue(inode),
                HasHumanSizes = parsed.GetValue(human),
                Order = new NameOrder(KeyOf(parsed), parsed.GetValue(reverse)),
                Width = parsed.GetValue(onePerLine) || host.Output.Width is not { } width ? 0 : width,
                Colors = ColorOption.Read(parsed, color, host.Output),
            };
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            int exitCode = ExitCode.Done;
            List<NamedNode> found = [];
            string[] given = parsed.GetValue(paths) is { Length: > 0 } some ? some : ["/"];
            foreach (string path in given)
            {
                try
                {
                    found.Add(Find(opened, ImagePathText.Encode(path), style with { IsLong = style.IsLong && !isJson }));
                }
                catch (CommandException e)
                {
                    exitCode = Math.Max(exitCode, host.Report(e, settings)); // as ls(1) does: the other paths are still wanted
                }
            }
            var lister = new Lister(host.Output, opened.Tree, style);
            if (isJson)
            {
                lister.ListJson(found, cancellationToken);
            }
            else
            {
                lister.List(found, given.Length > 1, cancellationToken);
            }
            return exitCode;
        });
        return verb;
    }

    // The last of several counts.
    private static NameKey KeyOf(ParseResult parsed)
        => parsed.Tokens.LastOrDefault(token => token is { Type: TokenType.Option, Value: "-t" or "-S" })?.Value switch { "-t" => NameKey.Time, "-S" => NameKey.Size, _ => NameKey.Name };

    // A link to a directory is listed as that directory, unless the link itself is asked for; any other link is shown itself, also a broken one.
    private static NamedNode Find(OpenedTree opened, byte[] path, ListingStyle style)
    {
        ResolvedPath itself = opened.Find(path, follow: false);
        return !style.IsLong && !style.ListsDirectories
            && PathResolver.Resolve(opened.Tree, path, followFinal: true, out ResolvedPath target) == Errno.None && FileMode.IsDirectory(opened.Tree.Mode(target.Node))
            ? new NamedNode(path, target.Path, target.Node)
            : new NamedNode(path, itself.Path, itself.Node);
    }
}
