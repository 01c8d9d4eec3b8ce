using System.CommandLine;
using System.Globalization;
using System.Text;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Mounting;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount list`: what is mounted, by whom, since when, and whether it still answers.</summary>
internal static class ListCommand
{
    public static Command Create(CommandHost host)
    {
        var json = JsonOption.Document(ListingJson.Default.IReadOnlyListMountListing);
        var verb = new Verb("list", "List mounted images.",
            """
            lazymount list
            lazymount list --json | jq -r '.[] | select(.state == "dead") | .mountPoint'
            """)
        { json };
        verb.Run(host, (parsed, _, _) =>
        {
            StateDirectory state = StateDirectory.Open();
            IReadOnlyList<StoredRecord> records = state.ReadAll();
            IReadOnlyList<MountListing> listings = Join(MountPoint.List(), records);
            foreach (StoredRecord record in records)
            {
                if (!record.IsHeld && !listings.Any(listing => listing.Pid == record.Record.Pid))
                {
                    state.Remove(record.Record); // its daemon was killed, and its mount is gone
                }
                record.Dispose();
            }
            state.SweepLogs();
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(listings, ListingJson.Default.IReadOnlyListMountListing);
            }
            else
            {
                Write(host.Output, listings);
            }
            return Task.FromResult(ExitCode.Done);
        });
        return verb;
    }

    /// <summary>
    /// The mount table with what the records add to it. A daemon that has locked its record lives; of other mounts the kernel is asked.
    /// </summary>
    internal static IReadOnlyList<MountListing> Join(IReadOnlyList<MountPoint> mounts, IReadOnlyList<StoredRecord> records)
        => [.. mounts.Select(mount =>
        {
            MountRecord? record = records.Where(record => record.IsHeld && record.Record.IsOf(mount)).MaxBy(record => record.Record.MountPoint == mount.Directory)?.Record;
            bool isDead = record is null && mount.IsDead();
            record ??= isDead ? records.FirstOrDefault(record => record.Record.IsOf(mount))?.Record : null;
            return new MountListing
            {
                MountPoint = Encoding.UTF8.GetString(PathText.Encode(mount.Directory)),
                MountPointBase64 = PathText.IsText(mount.Directory) ? null : PathText.Encode(mount.Directory),
                Image = record?.Image ?? mount.Source,
                State = isDead ? "dead" : "alive",
                Face = MountArguments.NameOf(mount.Face),
                ManifestDigest = record?.ManifestDigest,
                Proof = record?.Proof,
                Layer = record?.Layer,
                View = record?.View,
                Pid = record?.Pid ?? (isDead ? null : mount.Pid),
                Since = record?.Since.UtcDateTime,
                LogFile = record?.LogFile,
                CacheDirectory = record?.CacheDirectory,
            };
        })];

    internal static void Write(CommandOutput output, IReadOnlyList<MountListing> listings)
    {
        var table = new TextTable("STATE", "PID", "SINCE", "FACE", "PROOF", "MOUNT POINT", "IMAGE") { Cuttable = [5, 6] };
        foreach (MountListing listing in listings)
        {
            table.Add(
                listing.State,
                listing.Pid?.ToString(CultureInfo.InvariantCulture) ?? "-",
                listing.Since?.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) ?? "-",
                listing.Face,
                listing.Proof ?? "-",
                listing.MountPointBase64 is { } exact ? PathText.Decode(exact) : listing.MountPoint,
                listing.Image + (listing.Layer is int layer ? $" (layer {layer})" : "") + (listing.View is { } view ? $" (view {view})" : ""));
        }
        table.Write(output);
    }
}
