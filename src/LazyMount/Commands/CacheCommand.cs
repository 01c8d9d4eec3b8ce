using System.CommandLine;
using System.Globalization;
using LazyMount.Blobs.Cache;
using LazyMount.Cli;
using LazyMount.Indexes.Store;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount cache`: what the cache holds, making room in it, and whether it is sound.</summary>
internal static class CacheCommand
{
    public static Command Create(CommandHost host) => new Verb("cache",
        "Show, prune or verify the cache. It holds chunks of layers, manifests and indexes, is shared by all commands and mounts, and stays within --cache-limit. It may be deleted at any time; a running mount then fetches again what it needs.",
        """
        lazymount cache info
        lazymount cache prune --keep 2G
        lazymount cache verify
        """)
    {
        CreateInfo(host, "info"),
        CreatePrune(host),
        CreateVerify(host),
    };

    /// <summary>`cache info`, which is `df` too.</summary>
    public static Verb CreateInfo(CommandHost host, string name)
    {
        var json = JsonOption.Document(() => ListingJson.Default.CacheListing);
        var verb = new Verb(name, "Show where the cache is and what it holds.",
            """
            lazymount cache info
            lazymount cache info --json | jq .bytes
            """)
        { json };
        if (name != "info")
        {
            verb.StandsFor = "cache info";
        }
        verb.Run(host, (parsed, settings, _) =>
        {
            BlobCache cache = settings.OpenCache();
            CacheUsage usage = cache.Measure();
            if (parsed.GetValue(json))
            {
                var listing = new CacheListing
                {
                    CacheDirectory = cache.Root,
                    Limit = usage.Limit,
                    Bytes = usage.Bytes,
                    Files = usage.Files,
                    Contents = [.. usage.Kinds.Select(kind => new CachePartListing { Content = kind.Key, Files = kind.Value.Files, Bytes = kind.Value.Bytes })],
                };
                host.Output.WriteDocument(listing, ListingJson.Default.CacheListing);
                return Task.FromResult(ExitCode.Done);
            }
            host.Output.WriteName(ImagePathText.Encode(cache.Root));
            host.Output.WriteLine($": {ByteSize.Format(usage.Bytes)} of {ByteSize.Format(usage.Limit)}");
            var table = new TextTable("KIND", "FILES", "BYTES") { RightAligned = [1, 2] };
            foreach ((string kind, (int files, long bytes)) in usage.Kinds)
            {
                table.Add(kind, files.ToString(CultureInfo.InvariantCulture), host.Output.Size(bytes));
            }
            table.Write(host.Output);
            return Task.FromResult(ExitCode.Done);
        });
        return verb;
    }

    private static Verb CreatePrune(CommandHost host)
    {
        var keep = new Option<string?>("--keep") { Description = "Keep the most recently used files up to this size, such as 2G [0]", HelpName = "SIZE" };
        var olderThan = new Option<string?>("--unused-for") { Description = "Delete only files that were not used for this long, such as 12h or 7d", HelpName = "TIME" };
        var json = JsonOption.Document(() => ListingJson.Default.PruneListing);
        var verb = new Verb("prune", "Delete the least recently used files of the cache. Running mounts fetch again what they need.",
            """
            lazymount cache prune
            lazymount cache prune --keep 2G
            lazymount cache prune --unused-for 7d
            """)
        { keep, olderThan, json };
        verb.Run(host, (parsed, settings, _) =>
        {
            long most = parsed.GetValue(keep) switch
            {
                null => 0,
                { } text => ByteSize.TryParse(text, out long size) ? size : throw new UsageException($"--keep '{text}' is not a size, such as 500M or 2G"),
            };
            DateTime before = parsed.GetValue(olderThan) is { } time ? DateTime.UtcNow - ParseTime(time) : DateTime.MaxValue;
            (int files, long bytes) = settings.OpenCache().Prune(most, before);
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(new PruneListing { Files = files, Bytes = bytes }, ListingJson.Default.PruneListing);
            }
            else
            {
                host.Output.WriteLine($"deleted {files.ToString(CultureInfo.InvariantCulture)} {(files == 1 ? "file" : "files")}, {ByteSize.Format(bytes)}");
            }
            return Task.FromResult(ExitCode.Done);
        });
        return verb;
    }

    private static Verb CreateVerify(CommandHost host)
    {
        var json = JsonOption.Document(() => ListingJson.Default.VerifyListing);
        var verb = new Verb("verify", "Read every file in the cache and delete damaged ones. They are fetched again when they are needed. Exits with 1 if any was damaged. Every read is verified anyway: use this when a disk is suspect.",
            """
            lazymount cache verify
            """)
        { json };
        verb.Run(host, (parsed, settings, cancellationToken) =>
        {
            BlobCache cache = settings.OpenCache();
            CacheReport report = new CacheVerifier(cache).Run(cancellationToken);
            if (parsed.GetValue(json))
            {
                var listing = new VerifyListing { Files = report.Files, Bytes = report.Bytes, Damaged = report.Damaged, Unverifiable = report.Unverifiable };
                host.Output.WriteDocument(listing, ListingJson.Default.VerifyListing);
            }
            else
            {
                foreach (string path in report.Damaged)
                {
                    host.Output.Write("damaged, will be fetched or made again: ");
                    host.Output.WriteName(ImagePathText.Encode(path));
                    host.Output.WriteLine();
                }
                host.Output.WriteLine($"verified {report.Files.ToString(CultureInfo.InvariantCulture)} files, {ByteSize.Format(report.Bytes)}: {(report.Damaged.Count == 0 ? "all are sound" : $"{report.Damaged.Count.ToString(CultureInfo.InvariantCulture)} were damaged")}");
                if (report.Unverifiable > 0)
                {
                    host.Output.WriteLine($"not verifiable: {report.Unverifiable.ToString(CultureInfo.InvariantCulture)} files of chunks are as they were written, but no index here says what they should be");
                }
            }
            return Task.FromResult(report.Damaged.Count == 0 ? ExitCode.Done : ExitCode.Failed);
        });
        return verb;
    }

    private static TimeSpan ParseTime(string text)
    {
        double unit = text.Length == 0 ? 0 : text[^1] switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86400, 'w' => 7 * 86400, _ => 0 };
        return unit > 0 && double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number) && number * unit < TimeSpan.FromDays(36500).TotalSeconds
            ? TimeSpan.FromSeconds(number * unit)
            : throw new UsageException($"--unused-for '{text}' is not a time, such as 90m, 12h or 7d");
    }
}
