using System.CommandLine;
using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Comparing;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using LazyMount.Trees;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Commands;

/// <summary>`lazymount diff`: what differs between two images, or two layers of one, without reading what both have.</summary>
internal static class DiffCommand
{
    private const int Same = 0, Different = 1, Trouble = 2; // exit codes, as those of diff(1)
    private const long MaxText = 16 << 20;
    private const string BeginningOfTime = "1970-01-01 00:00:00.000000000 +0000";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private static readonly Changes[] s_ignorable = [Changes.Time, Changes.Owner, Changes.Mode, Changes.Attributes, Changes.Content];

    public static Command Create(CommandHost host)
    {
        var first = new Argument<string>("IMAGE1") { Description = "The image before, named as in 'lazymount help images'" };
        var second = new Argument<string?>("IMAGE2") { Description = "The image after; not with --layer", Arity = ArgumentArity.ZeroOrOne };
        var path = new Argument<string?>("PATH") { Description = "Compare this path inside the images, with all below it [/]", Arity = ArgumentArity.ZeroOrOne };
        var layers = new Option<string?>("--layer") { Description = "Compare two layers of IMAGE1, each alone: numbers (0 is the lowest, -1 the topmost) or beginnings of digests", HelpName = "N,M" };
        var stat = new Option<bool>("--stat") { Description = "Show how many names differ in each top directory, and their bytes" };
        var nameOnly = new Option<bool>("--name-only") { Description = "Show only the paths; of a renamed file the new one" };
        var unified = new Option<bool>("--unified", "-u") { Description = "Show how the text of the file PATH differs, as diff -u does" };
        var ignore = new Option<string[]>("--ignore") { Description = "Do not compare time, owner, mode, xattrs or content (repeatable)", HelpName = "WHAT[,WHAT]", DefaultValueFactory = _ => [] };
        var noRenames = new Option<bool>("--no-renames") { Description = "Show a renamed file as one deleted and one added" };
        var json = JsonOption.Either(new JsonForm(() => ListingJson.Default.DifferenceListing, IsLines: true), new JsonForm(() => ListingJson.Default.DifferenceSumsListing, IsLines: false, "--stat"));
        var verb = new Verb("diff",
            "Show what differs between two images, or two layers of an image. "
            + "A line is A (added), D (deleted), M (changed) or R (renamed), and a path. Files of equal size are read to be compared, unless they are in a layer that both images have or a table of contents has their digests; --ignore content reads nothing. "
            + "With --layer N,M the words are IMAGE [PATH]. Credentials on the command line are used for both images, which must then be in one registry.\n\nExit codes: 0 same, 1 different, 2 failed or wrong usage, 3 the source cannot be reached.",
            """
            lazymount diff app:v1 app:v2
            lazymount diff --ignore time --stat debian:12.10 debian:12.11
            lazymount diff -u app:v1 app:v2 /etc/nginx/nginx.conf
            lazymount diff --layer 0,-1 app:v2 /usr
            """)
        {
            first, second, path, layers, stat, nameOnly, unified, ignore, noRenames, json,
        };
        verb.ExitCodeOfFailure = Trouble;
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            bool isJson = parsed.GetValue(json), isStat = parsed.GetValue(stat), isNames = parsed.GetValue(nameOnly), isText = parsed.GetValue(unified);
            if ((isNames ? 1 : 0) + (isText ? 1 : 0) + (isStat || isJson ? 1 : 0) > 1)
            {
                throw new UsageException("--name-only, --unified and --stat or --json exclude each other");
            }
            Changes ignored = ParseIgnored(parsed.GetValue(ignore) ?? []);
            Sides sides = ParseSides(parsed.GetRequiredValue(first), parsed.GetValue(second), parsed.GetValue(path), parsed.GetValue(layers), settings);
            if (isText && sides.Path is null)
            {
                throw new UsageException("--unified needs the PATH of a file");
            }
            await using OpenedTree before = await OpenedTree.OpenAsync(sides.Before, settings with { Layer = sides.LayerBefore }, host, cancellationToken);
            // Two layers are of one image, though its tag may move meanwhile.
            Digest? root = sides.LayerAfter is not null ? before.Image.Image.RootDigest : null;
            await using OpenedTree after = await OpenedTree.OpenAsync(sides.After, settings with { Layer = sides.LayerAfter, Root = root }, host, cancellationToken);
            byte[] where = ImagePathText.Encode(sides.Path ?? "/");
            bool isDifferent;
            if (isText)
            {
                isDifferent = await WriteTextAsync(host.Output, before, after, where, cancellationToken);
            }
            else
            {
                (ComparedTree old, ComparedTree current) = Find(before, after, where);
                var comparison = await Task.Run(() => new TreeComparison(old, current, ignored, !parsed.GetValue(noRenames), cancellationToken), cancellationToken);
                await ReadAsync(comparison, host, cancellationToken);
                isDifferent = Write(comparison, host.Output, before, after, isStat, isNames, isJson, cancellationToken);
                if (comparison.HasGivenUpRenames)
                {
                    host.Note($"renames were not looked for, because more than {RenameSearch.MaxFiles} files were added or deleted");
                }
            }
            host.Output.Flush(); // while what fails is still trouble
            return isDifferent ? Different : Same;
        });
        return verb;
    }

    /// <param name="Before">The first image.</param>
    /// <param name="LayerBefore">The layer of it that is compared alone.</param>
    /// <param name="After">The second image.</param>
    /// <param name="LayerAfter">The same of it.</param>
    /// <param name="Path">What of them is compared; null for all.</param>
    private sealed record Sides(string Before, LayerChoice? LayerBefore, string After, LayerChoice? LayerAfter, string? Path);

    private static Sides ParseSides(string first, string? second, string? path, string? layers, CommandSettings settings)
    {
        if (layers is not null)
        {
            if (path is not null)
            {
                throw new UsageException($"--layer compares two layers of one image, and then '{path}' is one word too many");
            }
            string[] two = layers.Split(',');
            return two.Length == 2 ? new Sides(first, ParseLayer(two[0]), first, ParseLayer(two[1]), second)
                : throw new UsageException($"--layer '{layers}' does not name two layers, such as 0,1 or -2,-1");
        }
        if (second is null)
        {
            throw new UsageException("diff needs a second image, or --layer N,M for two layers of one");
        }
        (ImageReference before, ImageReference after) = (ImageArgument.Parse(first), ImageArgument.Parse(second));
        if (settings.Registries.Credentials is not null && before.Transport == Transport.Registry && after.Transport == Transport.Registry && before.Location != after.Location)
        {
            throw new UsageException($"credentials on the command line are for one registry, and the images are in {before.Location} and {after.Location}: use docker login, podman login or --authfile");
        }
        return new Sides(first, null, second, null, path);
    }

    private static LayerChoice ParseLayer(string text)
    {
        try
        {
            return LayerChoice.Parse(text);
        }
        catch (FormatException e)
        {
            throw new UsageException($"--layer {e.Message}", e);
        }
    }

    private static Changes ParseIgnored(IEnumerable<string> options)
    {
        var ignored = Changes.None;
        foreach (string word in options.SelectMany(option => option.Split(',')))
        {
            Changes change = NodeComparison.Names.FirstOrDefault(each => each.Name == word).Change;
            ignored |= s_ignorable.Contains(change) ? change
                : throw new UsageException($"--ignore '{word}' is none of {string.Join(", ", s_ignorable.Select(each => NodeComparison.Names.First(name => name.Change == each).Name))}");
        }
        return ignored;
    }

    // A path that only one image has is added or deleted with all below it.
    private static (ComparedTree Before, ComparedTree After) Find(OpenedTree before, OpenedTree after, byte[] path)
    {
        ComparedTree? old = TryFind(before, path), current = TryFind(after, path);
        if (old is null && current is null)
        {
            _ = before.Find(path, follow: false); // says why
        }
        return (old ?? new ComparedTree(before, TreePaths.NoNode, current!.Path), current ?? new ComparedTree(after, TreePaths.NoNode, old!.Path));
    }

    private static ComparedTree? TryFind(OpenedTree opened, byte[] path)
        => PathResolver.Resolve(opened.Tree, path, followFinal: false, out ResolvedPath found) == Errno.None ? new ComparedTree(opened, found.Node, found.Path) : null;

    private static async Task ReadAsync(TreeComparison comparison, CommandHost host, CancellationToken cancellationToken)
    {
        var progress = new TransferProgress(("comparing", comparison.ContentSize));
        Task work = Task.Run(() => comparison.ReadAsync(bytes => progress.Report(0, bytes), cancellationToken), CancellationToken.None);
        await host.ShowWhileAsync(progress, work);
    }

    // Whether there is a difference.
    private static bool Write(TreeComparison comparison, CommandOutput output, OpenedTree before, OpenedTree after, bool isStat, bool isNames, bool isJson, CancellationToken cancellationToken)
    {
        var sums = new DifferenceSums(before.Tree, after.Tree);
        var text = new DifferenceText(output, before.Tree, after.Tree);
        using var json = new DifferenceJson(output, before, after);
        bool isDifferent = false;
        foreach (Difference difference in comparison.Differences())
        {
            cancellationToken.ThrowIfCancellationRequested();
            isDifferent = true;
            if (isStat)
            {
                sums.Add(difference);
            }
            else if (isJson)
            {
                json.Write(difference);
            }
            else if (isNames)
            {
                output.WriteName((difference.After ?? difference.Before)!.Value.Path);
                output.WriteLine();
            }
            else
            {
                text.Write(difference);
            }
        }
        if (isStat && isJson)
        {
            sums.WriteJson(output);
        }
        else if (isStat && isDifferent)
        {
            sums.Write(output);
        }
        return isDifferent;
    }

    private static async Task<bool> WriteTextAsync(CommandOutput output, OpenedTree before, OpenedTree after, byte[] path, CancellationToken cancellationToken)
    {
        (Text? old, Text? current) = (await ReadTextAsync(before, path, cancellationToken), await ReadTextAsync(after, path, cancellationToken));
        if (old is null && current is null)
        {
            _ = before.Find(path, follow: true); // says why
        }
        byte[] oldBytes = old?.Bytes ?? [], currentBytes = current?.Bytes ?? [];
        if (old is not null && current is not null && oldBytes.AsSpan().SequenceEqual(currentBytes))
        {
            return false;
        }
        byte[] shown = path.AsSpan().TrimStart((byte)'/').ToArray();
        if (UnifiedDiff.IsBinary(oldBytes) || UnifiedDiff.IsBinary(currentBytes))
        {
            output.Write("binary files ");
            WriteHeaderName(output, "a/", old is null ? null : shown);
            output.Write(" and ");
            WriteHeaderName(output, "b/", current is null ? null : shown);
            output.WriteLine(" differ");
            return true;
        }
        UnifiedDiff diff;
        try
        {
            diff = await Task.Run(() => new UnifiedDiff(oldBytes, currentBytes), CancellationToken.None).WaitAsync(s_patience, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new CommandException($"cannot compare the text of '{ImagePathText.Decode(path)}' in {s_patience.TotalSeconds:0} seconds: too many lines are in another order; copy both out with 'lazymount cp' and use diff", ExitCode.Failed, e);
        }
        output.Write("--- ");
        WriteHeaderName(output, "a/", old is null ? null : shown);
        output.Write($"\t{old?.Time ?? BeginningOfTime}\n+++ ");
        WriteHeaderName(output, "b/", current is null ? null : shown);
        output.Write($"\t{current?.Time ?? BeginningOfTime}\n");
        diff.Write(output);
        return true;
    }

    // As diff(1) writes it and patch(1) reads it: a name with special characters is quoted as a string of C.
    private static void WriteHeaderName(CommandOutput output, string prefix, byte[]? path)
    {
        if (path is null)
        {
            output.Write("/dev/null");
            return;
        }
        string[] characters = [.. path.Select(Quoted)];
        string quote = Array.Exists(characters, text => text is not [> ' ']) ? "\"" : "";
        output.Write($"{quote}{prefix}{string.Concat(characters)}{quote}");
    }

    private static string Quoted(byte character) => character switch
    {
        (byte)'\t' => @"\t",
        (byte)'\n' => @"\n",
        (byte)'"' or (byte)'\\' => @"\" + (char)character,
        >= (byte)' ' and < 0x7F => ((char)character).ToString(),
        _ => @"\" + Convert.ToString(character, 8).PadLeft(3, '0'),
    };

    private sealed record Text(byte[] Bytes, string Time);

    // Null when there is none.
    private static async Task<Text?> ReadTextAsync(OpenedTree opened, byte[] path, CancellationToken cancellationToken)
    {
        if (PathResolver.Resolve(opened.Tree, path, followFinal: true, out ResolvedPath found) == Errno.ENOENT)
        {
            return null;
        }
        found = opened.Find(path, follow: true);
        NodeAttributes attributes = opened.Tree.Attributes(found.Node);
        string name = ImagePathText.Decode(path);
        if (!FileMode.IsRegular(attributes.Mode))
        {
            throw new CommandException($"cannot compare the text of '{name}': it is a {EntryFormat.TypeName(attributes.Mode)} in '{opened.Image.Image.Reference}'; name a file");
        }
        if (attributes.Size > MaxText)
        {
            throw new CommandException($"cannot compare the text of '{name}': it has {ByteSize.Format(attributes.Size)} in '{opened.Image.Image.Reference}', more than {ByteSize.Format(MaxText)}; copy both out with 'lazymount cp' and use diff");
        }
        byte[] bytes = new byte[attributes.Size];
        var data = new FileData();
        for (int offset = 0; offset < bytes.Length;)
        {
            await opened.ReadAsync(found.Node, offset, bytes.Length - offset, data, name, cancellationToken);
            for (int piece = 0; piece < data.Count; piece++)
            {
                data[piece].CopyTo(bytes.AsSpan(offset));
                offset += data[piece].Length;
            }
        }
        data.Clear();
        return new Text(bytes, TimeOf(attributes));
    }

    // As GNU diff writes it, in UTC.
    private static string TimeOf(in NodeAttributes attributes)
    {
        long seconds = Math.Clamp(attributes.MtimeSeconds, DateTimeOffset.MinValue.ToUnixTimeSeconds(), DateTimeOffset.MaxValue.ToUnixTimeSeconds());
        return string.Create(CultureInfo.InvariantCulture, $"{DateTimeOffset.FromUnixTimeSeconds(seconds):yyyy-MM-dd HH:mm:ss}.{attributes.MtimeNanoseconds:D9} +0000");
    }
}
