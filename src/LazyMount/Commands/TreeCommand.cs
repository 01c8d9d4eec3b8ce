using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Listing;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Commands;

/// <summary>`lazymount tree`: an image's directories drawn as a tree, as tree(1) draws them.</summary>
internal static class TreeCommand
{
    private const int LargestBuffer = 64 << 10;

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var path = new Argument<string?>("PATH") { Description = "Where to begin [/]", Arity = ArgumentArity.ZeroOrOne };
        var levels = new Option<int?>("--level", "-L")
        {
            Description = "Show at most this many levels",
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
        var color = ColorOption.Create();
        var json = JsonOption.Document(() => ListingJson.Default.TreeListing, "; also of names that begin with a dot");
        var verb = new Verb("tree", "Draw the directories of an image as a tree.",
            """
            lazymount tree -L 2 debian:12 /usr
            lazymount tree --json debian:12 /etc | jq '.. | .name? // empty'
            """)
        { image, path, levels, all, color, json, host.Options.Layer };
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
                Write(host.Output, opened.Tree, start, resolved, depth, parsed.GetValue(all), cancellationToken, ColorOption.Read(parsed, color, host.Output));
            }
            return ExitCode.Done;
        });
        return verb;
    }

    internal static void Write(CommandOutput output, ImageTree tree, string heading, ResolvedPath start, int depth, bool all, CancellationToken cancellationToken, LsColors? colors = null)
    {
        output.WriteName(ImagePathText.Encode(heading));
        output.WriteLine();
        int directories = 0, files = 0;
        var lasts = new List<bool>(); // by level: whether the directory that the walk is in is the last of its own
        foreach (WalkedName walked in TreeWalk.Below(tree, start.Node, start.Path, depth, name => all || new ListingStyle().Shows(name.Name.Span)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            lasts.RemoveRange(walked.Depth - 1, lasts.Count - walked.Depth + 1);
            foreach (bool isLast in lasts)
            {
                output.Write(isLast ? "    " : "│   ");
            }
            output.Write(walked.IsLast ? "└── " : "├── ");
            EntryFormat.WriteNameAndTarget(output, tree, walked.Name, colors);
            bool isDirectory = FileMode.IsDirectory(tree.Mode(walked.Name.Node));
            (directories, files) = isDirectory ? (directories + 1, files) : (directories, files + 1);
            lasts.Add(walked.IsLast);
        }
        output.WriteLine();
        output.WriteLine($"{directories} {(directories == 1 ? "directory" : "directories")}, {files} {(files == 1 ? "file" : "files")}");
    }

    internal static void WriteJson(CommandOutput output, ImageTree tree, ResolvedPath start, int depth, CancellationToken cancellationToken)
    {
        using var json = new Utf8JsonWriter(output.Stream, CommandOutput.JsonOptions(isIndented: output.IsTerminal)); // deep trees would be mostly indentation
        var hasChildren = new Stack<bool>(); // of entries whose object is not ended, each in the "children" of the one before
        Begin(start.Node, start.Path, depth);
        foreach (WalkedName walked in TreeWalk.Below(tree, start.Node, start.Path, depth, _ => true))
        {
            cancellationToken.ThrowIfCancellationRequested();
            End(walked.Depth);
            Begin(walked.Name.Node, walked.Name.Path, depth - walked.Depth);
        }
        End(0);
        json.Flush();
        output.WriteLine();

        void Begin(ulong node, ReadOnlyMemory<byte> path, int depthLeft)
        {
            if (json.BytesPending > LargestBuffer)
            {
                json.Flush(); // the writer itself keeps everything
            }
            json.WriteStartObject();
            WriteProperties(json, EntryListing.Of(tree, node, path.Span));
            hasChildren.Push(FileMode.IsDirectory(tree.Mode(node)) && depthLeft > 0);
            if (hasChildren.Peek())
            {
                json.WriteStartArray("children");
            }
        }

        // Ends all objects but the outermost ones, as many as said.
        void End(int left)
        {
            while (hasChildren.Count > left)
            {
                if (hasChildren.Pop())
                {
                    json.WriteEndArray();
                }
                json.WriteEndObject();
            }
        }
    }

    // Into the object that is open. The serializer would end it, and refuse deep trees.
    private static void WriteProperties(Utf8JsonWriter json, EntryListing entry)
    {
        foreach (JsonPropertyInfo property in ListingJson.Default.EntryListing.Properties)
        {
            switch (property.Get!(entry))
            {
                case null:
                    break;
                case string text:
                    json.WriteString(property.Name, text);
                    break;
                case byte[] bytes:
                    json.WriteBase64String(property.Name, bytes);
                    break;
                case object number:
                    json.WriteNumber(property.Name, Convert.ToDecimal(number, CultureInfo.InvariantCulture));
                    break;
            }
        }
    }
}
