using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Commands;

/// <summary>`lazymount tree`: an image's directories drawn as a tree, as tree(1) draws them.</summary>
internal static class TreeCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var path = new Argument<string?>("PATH") { Description = "Where to begin [/]", Arity = ArgumentArity.ZeroOrOne };
        var levels = new Option<int?>("--level", "-L")
        {
            Description = "Go no deeper than this",
            HelpName = "DEPTH",
            CustomParser = result =>
            {
                if (int.TryParse(result.Tokens[0].Value, CultureInfo.InvariantCulture, out int depth) && depth > 0)
                {
                    return depth;
                }
                result.AddError("--level needs a number above 0");
                return null;
            },
        };
        var all = new Option<bool>("--all", "-a") { Description = "Show names that begin with a dot" };
        var json = Verb.JsonOption("one entry, directories with their entries as \"children\" (with every name)");
        var verb = new Verb("tree", "Draw the directories of an image as a tree.",
            """
            lazymount tree -L 2 debian:12 /usr
            lazymount tree --json debian:12 /etc | jq '.. | .name? // empty'
            """)
        { image, path, levels, all, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string start = parsed.GetValue(path) ?? "/";
            int depth = parsed.GetValue(levels) ?? int.MaxValue;
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            ResolvedPath resolved = opened.Find(ImagePathText.Encode(start), follow: true);
            if (parsed.GetValue(json))
            {
                WriteJson(host.Output, opened.Tree, resolved, depth, cancellationToken);
            }
            else
            {
                Write(host.Output, opened.Tree, start, resolved, depth, parsed.GetValue(all), cancellationToken);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    internal static void Write(CommandOutput output, ImageTree tree, string heading, ResolvedPath start, int depth, bool all, CancellationToken cancellationToken)
    {
        output.WriteName(ImagePathText.Encode(heading));
        output.WriteLine();
        int directories = 0, files = 0;
        Draw(start.Node, "", depth);
        output.WriteLine();
        output.WriteLine($"{directories} {(directories == 1 ? "directory" : "directories")}, {files} {(files == 1 ? "file" : "files")}");

        void Draw(ulong directory, string indent, int depthLeft)
        {
            cancellationToken.ThrowIfCancellationRequested();
            NamedNode[] children = [.. LsCommand.ChildrenOf(tree, directory, default).Where(child => all || !LsCommand.IsHidden(child))];
            for (int i = 0; i < children.Length; i++)
            {
                bool isLast = i == children.Length - 1;
                output.Write(indent);
                output.Write(isLast ? "└── " : "├── ");
                EntryFormat.WriteNameAndTarget(output, tree, children[i]);
                if (!FileMode.IsDirectory(tree.Mode(children[i].Node)))
                {
                    files++;
                    continue;
                }
                directories++;
                if (depthLeft > 1)
                {
                    Draw(children[i].Node, indent + (isLast ? "    " : "│   "), depthLeft - 1);
                }
            }
        }
    }

    internal static void WriteJson(CommandOutput output, ImageTree tree, ResolvedPath start, int depth, CancellationToken cancellationToken)
    {
        using Utf8JsonWriter json = EntryJson.CreateWriter(output);
        WriteNode(start.Node, start.Path, depth);
        json.Flush();
        output.WriteLine();

        void WriteNode(ulong node, ReadOnlyMemory<byte> path, int depthLeft)
        {
            cancellationToken.ThrowIfCancellationRequested();
            json.WriteStartObject();
            EntryJson.WriteProperties(json, tree, node, path.Span);
            if (FileMode.IsDirectory(tree.Mode(node)) && depthLeft > 0)
            {
                json.WriteStartArray("children");
                foreach (NamedNode child in LsCommand.ChildrenOf(tree, node, path))
                {
                    WriteNode(child.Node, child.Path, depthLeft - 1);
                }
                json.WriteEndArray();
            }
            json.WriteEndObject();
        }
    }
}
