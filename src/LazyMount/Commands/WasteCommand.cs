using System.CommandLine;
using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount waste`: bytes of an image that nobody can see, by layer and by path; for CI with a limit.</summary>
internal static class WasteCommand
{
    private const int UsualPaths = 20;

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var count = new Option<string?>("--paths", "-n") { Description = $"List this many paths, those with the most waste [{UsualPaths}]", HelpName = "N" };
        var depth = new Option<string?>("--max-depth", "-d") { Description = "Sum what is below directories of this depth: 2 lists /usr/lib and its like [every path by itself]", HelpName = "N" };
        var failAbove = new Option<string?>("--fail-above") { Description = "Exit with 1 when more is wasted: bytes, or a share of all files' bytes", HelpName = "SIZE|PERCENT%" };
        var json = JsonOption.Document(() => ListingJson.Default.WasteListing);
        var verb = new Verb("waste",
            "Show bytes of files that no one can see. REPLACED are bytes of files at whose paths something else stands, DELETED those of files that a higher layer deleted, DUPLICATE those of files whose content a lower layer has in a visible file: that is known only where the indexes of layers have digests of files, as those of eStargz and zstd:chunked. Sizes are uncompressed, without holes; a file of several names is counted once. No content is read. With --fail-above, the exit code is 1 when more is wasted, 2 when the image cannot be measured and 3 when its source cannot be reached.",
            """
            lazymount waste myapp:v1
            lazymount waste -d 2 myapp:v1
            lazymount waste --fail-above 5% myapp:v1
            lazymount waste --json -n 1000 myapp:v1 | jq -r '.paths[].path'
            """)
        { image, count, depth, failAbove, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            int paths = parsed.GetValue(count) is not { } number ? UsualPaths
                : int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int given) ? given : throw new UsageException($"--paths '{number}' is not a number of paths, such as 20");
            int levels = parsed.GetValue(depth) is not { } levelText ? int.MaxValue
                : int.TryParse(levelText, NumberStyles.None, CultureInfo.InvariantCulture, out int most) && most > 0 ? most : throw new UsageException($"--max-depth '{levelText}' is not a number of names above 0, such as 2");
            WasteLimit? limit = parsed.GetValue(failAbove) is not { } text ? null
                : WasteLimit.TryParse(text, out WasteLimit read) ? read : throw new UsageException($"--fail-above '{text}' is neither a size, such as 10M, nor a percentage, such as 5%");
            verb.ExitCodeOfFailure = limit is null ? ExitCode.Failed : ExitCode.Usage; // 1 says that there is too much waste, and nothing else
            WastedBytes waste = await MeasureAsync(host, reference, settings, (paths, levels), parsed.GetValue(json), cancellationToken);
            if (limit?.IsBelow(waste) != true)
            {
                return ExitCode.Done;
            }
            return host.Report(
                new CommandException($"cannot accept '{reference}': {ByteSize.Format(waste.Wasted)} of its files' bytes are wasted ({Percent(1 - waste.Efficiency)}), more than {limit}; do not add to one layer what another one replaces or deletes"),
                settings);
        });
        return verb;
    }

    private static async Task<WastedBytes> MeasureAsync(CommandHost host, ImageReference reference, CommandSettings settings, (int Count, int Depth) paths, bool asJson, CancellationToken cancellationToken)
    {
        using ILoggerFactory loggers = Loggers.ForCommand(settings);
        await using IndexedImage opened = await host.OpenIndexedAsync(reference, settings, loggers, cancellationToken);
        WastedBytes waste = opened.MeasureWaste(paths.Count, paths.Depth, cancellationToken);
        if (asJson)
        {
            host.Output.WriteDocument(Describe(waste, opened.Image), ListingJson.Default.WasteListing);
        }
        else
        {
            Write(host.Output, waste, opened.Image);
        }
        host.Output.Flush();
        return waste;
    }

    private static WasteListing Describe(WastedBytes waste, Image image) => new()
    {
        Files = waste.Files,
        StoredSize = waste.Size,
        WastedSize = waste.Wasted,
        ReplacedSize = waste.Layers.Sum(layer => layer.Replaced),
        DeletedSize = waste.Layers.Sum(layer => layer.Deleted),
        DuplicateSize = waste.Layers.Sum(layer => layer.Duplicate),
        Efficiency = waste.Efficiency,
        Layers = [.. waste.Layers.Select(layer => new LayerWasteListing
        {
            Layer = layer.Layer,
            LayerDigest = image.Layers[layer.Layer].Digest.ToString(),
            Files = layer.Files,
            StoredSize = layer.Size,
            WastedSize = layer.Wasted,
            ReplacedSize = layer.Replaced,
            DeletedSize = layer.Deleted,
            DuplicateSize = layer.Duplicate,
        })],
        Paths = [.. waste.Paths.Select(path => new PathWasteListing
        {
            Path = EntryListing.Text(path.Path),
            PathBase64 = EntryListing.Exact(path.Path),
            WastedSize = path.Size,
            LayerNumbers = path.Layers,
            Reasons = [.. path.Reasons.Select(NameOf)],
        })],
    };

    private static void Write(CommandOutput output, WastedBytes waste, Image image)
    {
        ImageHistory history = ImageHistory.Read(image.ConfigBytes.Span, image.Layers.Count);
        var layers = new TextTable("LAYER", "FILES", "SIZE", "WASTED", "REPLACED", "DELETED", "DUPLICATE", "DIGEST", "CREATED BY") { RightAligned = [0, 1, 2, 3, 4, 5, 6] };
        foreach (LayerWaste layer in waste.Layers)
        {
            layers.Add(
                LayersCommand.Number(layer.Layer), LayersCommand.Number(layer.Files), output.Size(layer.Size), output.Size(layer.Wasted),
                output.Size(layer.Replaced), output.Size(layer.Deleted), output.Size(layer.Duplicate), output.DigestText(image.Layers[layer.Layer].Digest.ToString()),
                HistoryCommand.Known(history.Of(layer.Layer)?.Command) ?? "-");
        }
        layers.Write(output);
        if (waste.Paths.Count > 0)
        {
            output.WriteLine();
            var paths = new TextTable("WASTED", "LAYERS", "REASON", "PATH") { RightAligned = [0], Cuttable = [1] };
            foreach (PathWaste path in waste.Paths)
            {
                paths.Add(output.Size(path.Size), string.Join(',', path.Layers), string.Join(',', path.Reasons.Select(NameOf)), ImagePathText.Decode(path.Path));
            }
            paths.Write(output);
        }
        output.WriteLine();
        string unit = output.IsTerminal ? "" : " bytes";
        output.WriteLine($"wasted {output.Size(waste.Wasted)} of {output.Size(waste.Size)}{unit} ({Percent(1 - waste.Efficiency)}), efficiency {Percent(waste.Efficiency)}");
    }

    internal static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:0.##} %");

    internal static string NameOf(WasteReason reason) => reason switch
    {
        WasteReason.Replaced => "replaced",
        WasteReason.Deleted => "deleted",
        WasteReason.Duplicate => "duplicate",
        _ => "none",
    };
}
