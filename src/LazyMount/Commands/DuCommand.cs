using System.CommandLine;
using System.Globalization;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount du`: what directories of an image hold, as du(1) shows it, without mounting.</summary>
internal static class DuCommand
{
    /// <summary>How sums are written.</summary>
    private enum Unit
    {
        Kibibytes,
        Bytes,
        Human,
    }

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var paths = new Argument<string[]>("PATH") { Description = "Paths inside the image [/]", Arity = ArgumentArity.ZeroOrMore };
        var all = new Option<bool>("--all", "-a") { Description = "Show files too, not only directories" };
        var summarize = new Option<bool>("--summarize", "-s") { Description = "Show one line for each PATH" };
        var depth = new Option<int?>("--max-depth", "-d")
        {
            Description = "Show at most this many levels below each PATH",
            HelpName = "N",
            CustomParser = result =>
            {
                if (int.TryParse(result.Tokens[0].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int levels))
                {
                    return levels;
                }
                result.AddError("--max-depth needs a number from 0");
                return null;
            },
        };
        var human = new Option<bool>("--human-readable", "-h") { Description = "Write sizes such as 1.5M instead of KiB" };
        var apparent = new Option<bool>("--apparent-size") { Description = "Count the bytes of files, holes included, instead of 512-byte blocks" };
        var bytes = new Option<bool>("--bytes", "-b") { Description = "Write bytes: --apparent-size in bytes" };
        var total = new Option<bool>("--total", "-c") { Description = "Add a line with the sum of all PATHs" };
        var json = JsonOption.Lines(() => ListingJson.Default.UsageListing);
        var verb = new Verb("du", "Sum the sizes of the files in directories of an image. A file with several names is counted once.",
            """
            lazymount du -h -d 1 debian:12 /usr
            lazymount du -sb debian:12 /etc /var
            lazymount du debian:12 | sort -n | tail
            """)
        { image, paths, all, summarize, depth, human, apparent, bytes, total, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            (bool showsFiles, int? levels) = (parsed.GetValue(all), parsed.GetValue(depth));
            if (parsed.GetValue(summarize))
            {
                if (showsFiles)
                {
                    throw new UsageException("-s shows no files, and -a asks for them: use one of them");
                }
                levels = levels is null or 0 ? 0 : throw new UsageException($"-s is -d 0, and -d {levels} asks for more: use one of them");
            }
            Unit unit = parsed.GetValue(human) ? Unit.Human : parsed.GetValue(bytes) ? Unit.Bytes : Unit.Kibibytes;
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            int exitCode = ExitCode.Done;
            var usage = new DiskUsage(opened.Tree, parsed.GetValue(apparent) || parsed.GetValue(bytes));
            using var lines = new JsonLines(host.Output);
            foreach (string path in parsed.GetValue(paths) is { Length: > 0 } given ? given : ["/"])
            {
                ResolvedPath resolved;
                try
                {
                    resolved = opened.Find(ImagePathText.Encode(path), follow: false);
                }
                catch (CommandException e)
                {
                    exitCode = Math.Max(exitCode, host.Report(e, settings));
                    continue;
                }
                bool isJson = parsed.GetValue(json);
                usage.Count(resolved.Node, isJson ? resolved.Path : ImagePathText.Encode(path), Write, cancellationToken);

                void Write(DiskUsageEntry entry)
                {
                    if (entry.Depth > (levels ?? int.MaxValue) || !(entry.IsDirectory || showsFiles || entry.Depth == 0))
                    {
                        return;
                    }
                    if (isJson)
                    {
                        lines.Write(Describe(opened.Tree, entry), ListingJson.Default.UsageListing);
                        return;
                    }
                    WriteSize(host.Output, entry.Bytes, unit);
                    host.Output.WriteName(entry.Path);
                    host.Output.WriteLine();
                }
            }
            if (parsed.GetValue(total) && parsed.GetValue(json))
            {
                lines.Write(new UsageListing { Usage = usage.Total }, ListingJson.Default.UsageListing);
            }
            else if (parsed.GetValue(total))
            {
                WriteSize(host.Output, usage.Total, unit);
                host.Output.WriteLine("total");
            }
            return exitCode;
        });
        return verb;
    }

    private static void WriteSize(CommandOutput output, long bytes, Unit unit)
        => output.Write(unit switch
        {
            Unit.Human => ByteSize.FormatShort(bytes),
            Unit.Bytes => bytes.ToString(CultureInfo.InvariantCulture),
            _ => ((bytes / 1024) + (bytes % 1024 == 0 ? 0 : 1)).ToString(CultureInfo.InvariantCulture),
        } + "\t");

    private static UsageListing Describe(ImageTree tree, DiskUsageEntry entry) => new()
    {
        Path = EntryListing.Text(entry.Path),
        PathBase64 = EntryListing.Exact(entry.Path),
        Type = EntryFormat.TypeName(tree.Mode(entry.Node)),
        Usage = entry.Bytes,
    };
}
