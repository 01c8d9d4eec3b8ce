using System.CommandLine;
using System.Globalization;
using System.Text;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Images;
using LazyMount.Keeping;
using LazyMount.Mounting;
using LazyMount.Output;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Commands;

/// <summary>`lazymount list`: what is mounted, by whom, since when, and whether it still answers.</summary>
internal static class ListCommand
{
    public static Command Create(CommandHost host)
    {
        var json = JsonOption.Document(() => ListingJson.Default.IReadOnlyListMountListing);
        var verb = new Verb("list", "List mounted images. With -v, also the processes of each mount, what it has fetched, decoded and served, and its last failure.",
            """
            lazymount list
            lazymount list -v
            lazymount list --json | jq -r '.[] | select(.state == "dead") | .mountPoint'
            """)
        { json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            StateDirectory state = StateDirectory.Open();
            IReadOnlyList<StoredRecord> records = state.ReadAll();
            IReadOnlyList<MountListing> listings = Join(MountPoint.List(), records);
            foreach (StoredRecord record in records)
            {
                if (!record.IsHeld && !listings.Any(listing => listing.Pid == record.Record.Pid))
                {
                    state.Remove(record); // its daemon was killed, and its mount is gone
                }
                record.Dispose();
            }
            state.SweepLogs();
            if (parsed.GetValue(json) || settings.Verbose)
            {
                listings = await Task.WhenAll(listings.Select(listing => WithFiguresAsync(listing, records.FirstOrDefault(record => record.Record.Pid == listing.Pid)?.Record, state, settings, cancellationToken)));
            }
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(listings, ListingJson.Default.IReadOnlyListMountListing);
            }
            else if (settings.Verbose)
            {
                WriteFigures(host.Output, listings);
            }
            else
            {
                Write(host.Output, listings);
            }
            return ExitCode.Done;
        });
        return verb;
    }

    /// <summary>
    /// The mount table with what the records add to it, and mounts that are in no place of it but go on, because they are in use. A process
    /// that has locked its record lives; of other mounts the kernel is asked.
    /// </summary>
    internal static IReadOnlyList<MountListing> Join(IReadOnlyList<MountPoint> mounts, IReadOnlyList<StoredRecord> records)
    {
        int?[] answers = MountPoint.ProbeAll(mounts);
        List<MountListing> listings = [];
        for (int i = 0; i < mounts.Count; i++)
        {
            MountPoint mount = mounts[i];
            MountRecord? record = records.Where(record => record.IsHeld && record.Record.IsOf(mount)).MaxBy(record => record.Record.MountPoint == mount.Directory)?.Record;
            string state = record is not null ? StateOf(record, answers[i] is not null) : mount.IsDead(answers[i]) ? Dead : answers[i] is null ? Stuck : Alive;
            record ??= state == Dead ? records.FirstOrDefault(record => record.Record.IsOf(mount))?.Record : null;
            listings.Add(Listing(mount.Directory, mount.Source, MountArguments.NameOf(mount.Face), record?.HasFailed == true ? Failed : state, record, mount.Pid));
        }
        foreach (StoredRecord record in records.Where(record => record.IsHeld && !mounts.Any(record.Record.IsOf)))
        {
            listings.Add(Listing(record.Record.MountPoint, record.Record.Image, record.Record.Face ?? "fuse", Busy, record.Record, null));
        }
        return listings;
    }

    // Served; unmounted and still in use; between two processes that serve; not answering; given up by its keeper; and not served any more.
    private const string Alive = "alive", Busy = "busy", Restarting = "restarting", Stuck = "stuck", Failed = "failed", Dead = "dead";

    private static string StateOf(MountRecord record, bool hasAnswered) => (record.Worker is int worker ? ProcessState.Of(worker) : null) switch
    {
        null when record.Worker is not null => Restarting,
        _ when record.Trouble is not null => Restarting, // it answers, but cannot open the image
        var process when ProcessState.IsStopped(process) => Stuck,
        _ => hasAnswered ? Alive : Stuck,
    };

    private static MountListing Listing(string directory, string source, string face, string state, MountRecord? record, int? server) => new()
    {
        MountPoint = Encoding.UTF8.GetString(PathText.Encode(directory)),
        MountPointBase64 = PathText.IsText(directory) ? null : PathText.Encode(directory),
        Image = record?.Image ?? source,
        State = state,
        Trouble = record?.Trouble,
        Face = face,
        ManifestDigest = record?.ManifestDigest,
        Proof = record?.Proof,
        Layer = record?.Layer,
        View = record?.View,
        Pid = record?.Pid ?? (state == Dead ? null : server),
        Worker = state is Restarting or Dead or Failed ? null : record?.Worker,
        Restarts = record?.Restarts,
        SurvivesCrashes = record?.SurvivesCrashes,
        Since = record?.Since.UtcDateTime,
        LogFile = record?.LogFile,
        Metrics = record?.Metrics,
        CacheDirectory = record?.CacheDirectory,
    };

    // Adds what the worker has noted of its work, and looks into the cache.
    private static async Task<MountListing> WithFiguresAsync(MountListing listing, MountRecord? record, StateDirectory state, CommandSettings settings, CancellationToken cancellationToken)
    {
        MountStatus? status = record is null ? null : state.StatusOf(record);
        return listing with
        {
            FetchedBytes = status?.FetchedBytes,
            DecodedBytes = status?.DecodedBytes,
            ServedBytes = status?.ServedBytes,
            LastError = status?.LastError is { } error ? new ErrorListing { Time = error.Time.UtcDateTime, Path = error.Path, Message = error.Message } : null,
            CachedShare = await CachedShareAsync(listing, settings, cancellationToken),
        };
    }

    private static async Task<double?> CachedShareAsync(MountListing listing, CommandSettings settings, CancellationToken cancellationToken)
    {
        if (listing.CacheDirectory is not { } cache || !Directory.Exists(cache) || !Digest.TryParse(listing.ManifestDigest ?? "", out Digest manifest))
        {
            return null;
        }
        try
        {
            OpeningOptions options = (settings with { CacheDirectory = cache, Offline = true }).ToOpening() with { Root = manifest };
            ImageReference reference = ImageReference.Parse(listing.Image);
            if (reference.Transport != Transport.Registry)
            {
                return null; // nothing of it is copied to the cache
            }
            await using ResolvedImage image = await ResolvedImage.OpenAsync(reference, options, NullLoggerFactory.Instance, cancellationToken);
            return Math.Round(image.CachedShare(options, NullLoggerFactory.Instance), 4);
        }
        catch (ImageException)
        {
            return null; // the cache is not what it was: its manifest is gone
        }
    }

    /// <summary>Everything that is known of each mount, one value a line.</summary>
    internal static void WriteFigures(CommandOutput output, IReadOnlyList<MountListing> listings)
    {
        foreach (MountListing listing in listings)
        {
            if (listing != listings[0])
            {
                output.WriteLine();
            }
            output.WriteName(listing.MountPointBase64 ?? ImagePathText.Encode(listing.MountPoint));
            output.WriteLine();
            Line("image", listing.Image);
            Line("state", listing.Trouble is null ? listing.State : $"{listing.State}: {listing.Trouble}");
            Line("since", listing.Since is { } since ? Time(since) : null);
            Line("face", listing.Face);
            Line("shows", Shows(listing));
            Line("proof", listing.Proof);
            Line("keeper", Number(listing.Pid));
            Line("worker", Number(listing.Worker));
            Line("restarts", Number(listing.Restarts));
            Line("fetched", Size(listing.FetchedBytes));
            Line("decoded", Size(listing.DecodedBytes));
            Line("served", Size(listing.ServedBytes));
            Line("cached", listing.CachedShare is { } share ? string.Create(CultureInfo.InvariantCulture, $"{share * 100:0.#} %") : null);
            Line("last error", listing.LastError is { } error ? $"{Time(error.Time)} {error.Path}: {error.Message}" : null);
            Line("metrics", listing.Metrics);
            Line("log", listing.LogFile);
        }

        void Line(string name, string? value)
        {
            if (value is not null)
            {
                output.WriteLine($"  {name,-10}  {CommandOutput.Displayable(value)}");
            }
        }

        static string? Number(int? number) => number?.ToString(CultureInfo.InvariantCulture);
        string? Size(long? bytes) => bytes is { } known ? output.Size(known) : null;
    }

    internal static void Write(CommandOutput output, IReadOnlyList<MountListing> listings)
    {
        bool hasParts = listings.Any(listing => (listing.Layer, listing.View) != default);
        var table = new TextTable(["STATE", "PID", "SINCE", "FACE", "PROOF", .. hasParts ? (string[])["SHOWS"] : [], "MOUNT POINT", "IMAGE"]) { Cuttable = hasParts ? [6, 7] : [5, 6] };
        foreach (MountListing listing in listings)
        {
            table.Add([
                listing.State,
                listing.Pid?.ToString(CultureInfo.InvariantCulture) ?? "-",
                listing.Since is { } since ? Time(since) : "-",
                listing.Face,
                listing.Proof ?? "-",
                .. hasParts ? (string[])[Shows(listing) ?? "files"] : [],
                listing.MountPointBase64 is { } exact ? PathText.Decode(exact) : listing.MountPoint,
                listing.Image]);
        }
        table.Write(output);
        foreach (MountListing listing in listings.Where(listing => listing.Trouble is not null))
        {
            output.WriteLine($"{listing.MountPoint}: {listing.Trouble}{(listing.LogFile is { } log ? $"; its log is '{log}'" : "")}");
        }
    }

    // What of the image is to be seen; null for the merged tree.
    private static string? Shows(MountListing listing) => listing.Layer is int layer ? string.Create(CultureInfo.InvariantCulture, $"layer {layer}") : listing.View;

    private static string Time(DateTime time) => time.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
}
