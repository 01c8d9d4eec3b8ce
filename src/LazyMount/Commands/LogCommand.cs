using System.CommandLine;
using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using Microsoft.Extensions.Logging;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Commands;

/// <summary>`lazymount log`: what each layer did to a path, also to one that a higher layer deleted.</summary>
internal static class LogCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var path = new Argument<string>("PATH") { Description = "Path inside the image, also one that is deleted; a relative one starts at the root" };
        var json = JsonOption.Lines(() => ListingJson.Default.EventListing);
        var verb = new Verb("log",
            "Show what each layer did to a path, lowest first. ACTION is added, changed, linked (a new hard link), hidden (by what the layer did to a directory or link on the way) or deleted (a whiteout of the path itself). MODE, OWNER, SIZE and TIME are those after the layer; of a path that is gone, those before. For a directory, DETAILS sums the names and bytes below it that were added (+), changed (~) and deleted (-). 'lazymount cat --layer N' reads a file that a later layer deleted.",
            """
            lazymount log debian:12 /etc/passwd
            lazymount log myapp /root/.ssh/id_rsa
            lazymount log --json myapp /app | jq -c 'select(.action == "deleted")'
            """)
        { image, path, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string reference = parsed.GetRequiredValue(image), text = parsed.GetRequiredValue(path);
            ImageReference parsedReference = ImageArgument.Parse(reference);
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using IndexedImage opened = await host.OpenIndexedAsync(parsedReference, settings, loggers, cancellationToken);
            IEnumerable<PathEvent> events = opened.LogOf(ImagePathText.Encode(text), cancellationToken);
            bool isKnown = parsed.GetValue(json) ? WriteJson(host.Output, events, opened.Image) : Write(host, events, reference);
            return isKnown ? ExitCode.Done : throw new CommandException($"cannot log '{text}': no layer of '{parsedReference}' has it or ever had it; 'lazymount ls' shows what there is");
        });
        return verb;
    }

    private static bool Write(CommandHost host, IEnumerable<PathEvent> events, string reference)
    {
        CommandOutput output = host.Output;
        var table = new TextTable("LAYER", "ACTION", "MODE", "OWNER", "SIZE", "TIME", "DETAILS") { RightAligned = [0, 4], Cuttable = [] };
        (PathEvent? last, PathEvent? readable) = (null, null);
        foreach (PathEvent each in events)
        {
            PathNode node = each.Node;
            table.Add(
                LayersCommand.Number(each.Layer),
                NameOf(each.Action),
                EntryFormat.ModeString(node.Mode),
                string.Create(CultureInfo.InvariantCulture, $"{node.Uid}:{node.Gid}"),
                FileMode.IsDirectory(node.Mode) ? "-" : EntryFormat.IsDevice(node.Mode) ? $"{node.Device.Major}, {node.Device.Minor}" : output.Size(node.Size),
                node.Layer < 0 ? "-" : EntryFormat.ShortTime(node.MtimeSeconds),
                Details(each, output));
            last = each;
            readable = IsGone(each) ? readable : FileMode.IsRegular(node.Mode) && node.Layer == each.Layer ? each : null;
        }
        if (last is null)
        {
            return false;
        }
        table.Write(output);
        if (IsGone(last) && readable is not null)
        {
            string where = ImagePathText.Decode(readable.Path);
            // A path that a shell would take for something else is not offered for pasting.
            string words = where.All(letter => char.IsAsciiLetterOrDigit(letter) || "/._+-@%,:=".Contains(letter, StringComparison.Ordinal)) ? $"{reference} {where}" : "IMAGE PATH";
            host.Note($"'{where}' is not in the image any more; 'lazymount cat --layer {readable.Layer} {words}' reads what layer {readable.Layer} has");
        }
        return true;
    }

    internal static bool IsGone(PathEvent each) => each.Action is PathAction.Deleted or PathAction.Hidden;

    private static string Details(PathEvent each, CommandOutput output)
    {
        List<string> details = [];
        if (each.Changes != PathChanges.None)
        {
            details.Add(string.Join(", ", NamesOf(each.Changes)));
        }
        if (FileMode.IsSymlink(each.Node.Mode))
        {
            details.Add($"-> {ImagePathText.Decode(each.Node.LinkTarget.Span)}");
        }
        if (each.By is { } by)
        {
            string name = ImagePathText.Decode(by);
            details.Add(each.Covering is { } how ? (each.Action == PathAction.Added ? $"through {name}" : $"by {name}: {NameOf(how)}") : $"with {name}");
        }
        if (each.Below is { IsEmpty: false } below)
        {
            details.Add($"below: +{Text(below.Added)} ~{Text(below.Changed)} -{Text(below.Deleted)}");
        }
        return string.Join("; ", details);

        string Text(NameSum sum) => sum.Names == 0 ? "0" : string.Create(CultureInfo.InvariantCulture, $"{sum.Names} ({output.Size(sum.Size)})");
    }

    private static bool WriteJson(CommandOutput output, IEnumerable<PathEvent> events, Image image)
    {
        using var lines = new JsonLines(output);
        bool any = false;
        foreach (PathEvent each in events)
        {
            any = true;
            lines.Write(Describe(each, layer => image.Layers[layer].Digest.ToString()), ListingJson.Default.EventListing);
        }
        return any;
    }

    private static EventListing Describe(PathEvent each, Func<int, string> digestOf)
    {
        LayerEntryListing entry = LayerEntryListing.Of(each, digestOf);
        return new EventListing
        {
            Layer = each.Layer,
            LayerDigest = digestOf(each.Layer),
            Action = NameOf(each.Action),
            Path = entry.Path,
            PathBase64 = entry.PathBase64,
            Changes = [.. NamesOf(each.Changes)],
            Before = IsGone(each) ? entry : null,
            After = IsGone(each) ? null : entry,
            By = each.By is { } by ? EntryListing.Text(by) : null,
            ByBase64 = each.By is { } exact ? EntryListing.Exact(exact) : null,
            How = each.Covering is { } how ? NameOf(how) : null,
            Below = each.Below is not { } below ? null : new ChangeSumsListing { Added = Describe(below.Added), Deleted = Describe(below.Deleted), Changed = Describe(below.Changed) },
        };
    }

    private static NameSumListing Describe(NameSum sum) => new() { Names = sum.Names, Size = sum.Size };

    internal static string NameOf(PathAction action) => action switch
    {
        PathAction.Added => "added",
        PathAction.Changed => "changed",
        PathAction.Linked => "linked",
        PathAction.Hidden => "hidden",
        _ => "deleted",
    };

    internal static string NameOf(Covering how) => how switch
    {
        Covering.Whiteout => "deleted",
        Covering.Opaque => "opaque",
        _ => "replaced",
    };

    internal static IEnumerable<string> NamesOf(PathChanges changes)
    {
        foreach ((PathChanges change, string name) in ((PathChanges, string)[])
            [(PathChanges.Type, "type"), (PathChanges.Content, "content"), (PathChanges.Rewritten, "rewritten"), (PathChanges.Mode, "mode"), (PathChanges.Owner, "owner"),
             (PathChanges.Time, "time"), (PathChanges.Xattrs, "xattrs"), (PathChanges.Target, "target"), (PathChanges.Device, "device")])
        {
            if ((changes & change) != 0)
            {
                yield return name;
            }
        }
    }
}
