using System.CommandLine;
using System.Text.Json;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Commands;

/// <summary>`lazymount ls`: the names in a directory of an image, as ls(1) shows them, without mounting.</summary>
internal static class LsCommand
{
    /// <summary>How to list.</summary>
    internal readonly record struct Style(bool Long, bool Recursive, bool All);

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var path = new Argument<string?>("PATH") { Description = "Path inside the image [/]", Arity = ArgumentArity.ZeroOrOne };
        var isLong = new Option<bool>("--long", "-l") { Description = "Show type, mode, links, owner, group, size and time (UTC) as well" };
        var recursive = new Option<bool>("--recursive", "-R") { Description = "List subdirectories too" };
        var all = new Option<bool>("--all", "-a") { Description = "Show names that begin with a dot" };
        var json = Verb.JsonOption("an array of entries, also of those with a dot");
        var verb = new Verb("ls", "List a directory of an image without mounting it.",
            """
            lazymount ls debian:12 /etc
            lazymount ls -lR oci:./layout:v1 /usr/share/doc
            lazymount ls --json debian:12 /bin/ | jq -r '.[] | select(.type == "symlink") | .name'
            """)
        { image, path, isLong, recursive, all, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            var style = new Style(parsed.GetValue(isLong), parsed.GetValue(recursive), parsed.GetValue(all));
            byte[] where = ImagePathText.Encode(parsed.GetValue(path) ?? "/");
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            if (parsed.GetValue(json))
            {
                WriteJson(host.Output, opened.Tree, opened.Find(where, follow: true), style.Recursive, cancellationToken);
            }
            else
            {
                Write(host.Output, opened, where, style, cancellationToken);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    private static void Write(CommandOutput output, OpenedTree opened, byte[] path, Style style, CancellationToken cancellationToken)
    {
        ImageTree tree = opened.Tree;

        // A link to a directory is listed as that directory; any other thing is shown itself, a dangling link too.
        if (PathResolver.Resolve(tree, path, followFinal: true, out ResolvedPath resolved) == Errno.None && FileMode.IsDirectory(tree.Mode(resolved.Node)))
        {
            WriteDirectories(output, tree, resolved.Node, path, style, cancellationToken);
            return;
        }
        resolved = opened.Find(path, follow: false);
        WriteEntries(output, tree, [new NamedNode(path, resolved.Path, resolved.Node)], style.Long);
    }

    internal static void WriteDirectories(CommandOutput output, ImageTree tree, ulong start, ReadOnlyMemory<byte> path, Style style, CancellationToken cancellationToken)
    {
        WriteDirectory(output, tree, start, path, style);
        if (!style.Recursive)
        {
            return;
        }
        foreach (WalkedName walked in TreeWalk.Below(tree, start, path, int.MaxValue, name => (style.All || !IsHidden(name)) && FileMode.IsDirectory(tree.Mode(name.Node))))
        {
            cancellationToken.ThrowIfCancellationRequested();
            output.WriteLine();
            WriteDirectory(output, tree, walked.Name.Node, walked.Name.Path, style);
        }
    }

    private static void WriteDirectory(CommandOutput output, ImageTree tree, ulong directory, ReadOnlyMemory<byte> heading, Style style)
    {
        List<NamedNode> entries = [];
        if (style.All)
        {
            entries.Add(new NamedNode("."u8.ToArray(), default, directory));
            entries.Add(new NamedNode(".."u8.ToArray(), default, tree.ParentOf(directory)));
        }
        entries.AddRange(TreeWalk.ChildrenOf(tree, directory, heading).Where(child => style.All || !IsHidden(child)));
        if (style.Recursive)
        {
            output.WriteName(heading.Span);
            output.WriteLine(":");
        }
        if (style.Long)
        {
            output.WriteLine($"total {entries.Sum(entry => tree.Attributes(entry.Node).Blocks) / 2}");
        }
        WriteEntries(output, tree, entries, style.Long);
    }

    /// <summary>Whether a name is only shown when all are asked for. Whiteouts, which one layer alone has, are what it is looked at for.</summary>
    internal static bool IsHidden(NamedNode child) => child.Name.Span is [(byte)'.', ..] and not [(byte)'.', (byte)'w', (byte)'h', (byte)'.', ..];

    private static void WriteEntries(CommandOutput output, ImageTree tree, IReadOnlyList<NamedNode> entries, bool isLong)
    {
        if (isLong)
        {
            EntryFormat.WriteLong(output, tree, entries);
            return;
        }
        foreach (NamedNode entry in entries)
        {
            output.WriteName(entry.Name.Span);
            output.WriteLine();
        }
    }

    internal static void WriteJson(CommandOutput output, ImageTree tree, ResolvedPath start, bool recursive, CancellationToken cancellationToken)
    {
        using Utf8JsonWriter json = EntryJson.CreateWriter(output);
        json.WriteStartArray();
        if (FileMode.IsDirectory(tree.Mode(start.Node)))
        {
            foreach (WalkedName walked in TreeWalk.Below(tree, start.Node, start.Path, recursive ? int.MaxValue : 1, _ => true))
            {
                cancellationToken.ThrowIfCancellationRequested();
                WriteJsonEntry(json, tree, walked.Name.Node, walked.Name.Path.Span);
            }
        }
        else
        {
            WriteJsonEntry(json, tree, start.Node, start.Path);
        }
        json.WriteEndArray();
        json.Flush();
        output.WriteLine();
    }

    private static void WriteJsonEntry(Utf8JsonWriter json, ImageTree tree, ulong node, ReadOnlySpan<byte> path)
    {
        json.WriteStartObject();
        EntryJson.WriteProperties(json, tree, node, path);
        json.WriteEndObject();
    }
}
