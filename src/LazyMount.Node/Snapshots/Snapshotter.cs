using System.Diagnostics;
using Grpc.Core;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Node.Images;
using LazyMount.Node.Metrics;
using LazyMount.Node.Mounting;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Snapshots;

/// <summary>A mount as containerd makes it.</summary>
internal sealed record SnapshotMount(string Type, string Source, IReadOnlyList<string> Options);

/// <summary>
/// containerd's snapshotter. Snapshots whose layers are pulled as usual are directories that overlayfs stacks. A layer that is served lazily is a committed
/// snapshot without any file: when a container is made over it, one mount of the image, up to that layer, is the lowest directory of the stack.
/// </summary>
internal sealed class Snapshotter(SnapshotStore store, ImageAccess access, ImageMounts mounts, SnapshotUsage usage, NodeCounters counters, ILogger<Snapshotter> logger)
{
    private const int LongestName = 16 << 10;

    private const UnixFileMode RootMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute; // 0755

    // containerd allows 4 KiB for each.
    private const int MostLabelBytes = 1 << 20;

    // Held, by the number of a lazily served snapshot, while its mount is made or taken away, and while the number of its users changes.
    private readonly KeyedLock<long> _mounting = new();

    /// <summary>Makes a snapshot that is written to; or finds that the layer that would be unpacked into it need not be pulled, and says so by AlreadyExists.</summary>
    /// <exception cref="SnapshotException">It cannot be made.</exception>
    public async Task<IReadOnlyList<SnapshotMount>> PrepareAsync(string key, string parent, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        Check(key, parent, labels);
        _ = IdMapping.Of(labels); // refused before anything else
        if (store.Find(key) is not null)
        {
            throw SnapshotException.Exists(key);
        }
        if (await TryServeAsync(parent, labels, cancellationToken) is { } served)
        {
            throw SnapshotException.Exists(served);
        }
        return await MakeAsync(key, parent, labels, SnapshotKind.Active, cancellationToken);
    }

    /// <summary>Makes a snapshot that is read.</summary>
    /// <exception cref="SnapshotException">It cannot be made.</exception>
    public Task<IReadOnlyList<SnapshotMount>> ViewAsync(string key, string parent, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        Check(key, parent, labels);
        return MakeAsync(key, parent, labels, SnapshotKind.View, cancellationToken);
    }

    /// <summary>The mounts of a snapshot that was made before. A mount of an image that has died meanwhile is made again.</summary>
    /// <exception cref="SnapshotException">There is none, or it is committed.</exception>
    public async Task<IReadOnlyList<SnapshotMount>> MountsAsync(string key, CancellationToken cancellationToken)
    {
        SnapshotRecord record = store.Get(key);
        if (record.Kind == SnapshotKind.Committed)
        {
            throw new SnapshotException(StatusCode.FailedPrecondition, $"cannot mount the snapshot '{key}': it is committed; make a view of it");
        }
        using IDisposable? held = await LockServedAsync(record.Parent, cancellationToken);
        return await MountsOfAsync(record, cancellationToken);
    }

    /// <summary>Makes of a snapshot that was written to one that others are made over.</summary>
    /// <exception cref="SnapshotException">There is none, or one of the new name.</exception>
    public async Task CommitAsync(string name, string key, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        Check(name, "", labels);
        SnapshotRecord active = store.Get(key);
        if (active.Kind != SnapshotKind.Active)
        {
            throw new SnapshotException(StatusCode.FailedPrecondition, $"cannot commit the snapshot '{key}': it is not active");
        }
        (long size, long inodes) = await SnapshotUsage.MeasureAsync(UpperOf(active.Id), cancellationToken);
        DateTime now = DateTime.UtcNow;
        store.Replace(key, record => record with { Name = name, Kind = SnapshotKind.Committed, Labels = labels, CreatedAt = now, UpdatedAt = now, Size = size, Inodes = inodes });
        usage.Forget(active.Id);
        await ReleaseAsync(active.Parent, cancellationToken);
    }

    /// <summary>Removes a snapshot. An image whose last user this was is unmounted.</summary>
    /// <exception cref="SnapshotException">There is none, or others are made over it.</exception>
    public async Task RemoveAsync(string key, CancellationToken cancellationToken)
    {
        SnapshotRecord record = store.Remove(key);
        usage.Forget(record.Id);
        // Whatever fails from here on is left to Cleanup.
        await DiscardAsync(store.DirectoryOf(record.Id), CancellationToken.None);
        if (record.Kind != SnapshotKind.Committed)
        {
            await ReleaseAsync(record.Parent, cancellationToken);
        }
    }

    /// <exception cref="SnapshotException">There is none.</exception>
    public SnapshotRecord Stat(string key) => store.Get(key);

    public IReadOnlyList<SnapshotRecord> List() => store.All;

    /// <summary>Changes labels.</summary>
    /// <param name="key">The snapshot.</param>
    /// <param name="labels">The new labels.</param>
    /// <param name="paths">"labels" for all of them, "labels.KEY" for one; none: all.</param>
    /// <exception cref="SnapshotException">There is none, or something else is to be changed.</exception>
    public SnapshotRecord Update(string key, IReadOnlyDictionary<string, string> labels, IReadOnlyCollection<string> paths)
    {
        const string One = "labels.";
        Check(key, "", labels);
        return store.Replace(key, record =>
        {
            Dictionary<string, string> changed = new(record.Labels, StringComparer.Ordinal);
            foreach (string path in paths.Count == 0 ? ["labels"] : paths)
            {
                if (path == "labels")
                {
                    changed = new(labels, StringComparer.Ordinal);
                }
                else if (path.StartsWith(One, StringComparison.Ordinal))
                {
                    string label = path[One.Length..];
                    if (labels.TryGetValue(label, out string? value))
                    {
                        changed[label] = value;
                    }
                    else
                    {
                        changed.Remove(label);
                    }
                }
                else
                {
                    throw SnapshotException.Invalid($"cannot change '{path}' of the snapshot '{key}': only labels can be changed");
                }
            }
            return record with { Labels = changed, UpdatedAt = DateTime.UtcNow };
        });
    }

    /// <summary>Bytes and files on disk. Answers at once: of a snapshot that is being written to, what was found last. A layer that is served lazily has none.</summary>
    public async Task<(long Size, long Inodes)> UsageAsync(string key)
    {
        SnapshotRecord record = store.Get(key);
        return record switch
        {
            { Kind: SnapshotKind.Committed } => (record.Size, record.Inodes),
            { Kind: SnapshotKind.View } => (0, 0),
            _ => await usage.OfAsync(record.Id, UpperOf(record.Id)),
        };
    }

    /// <summary>Removes what belongs to no snapshot, and unmounts images that no snapshot uses.</summary>
    public async Task CleanupAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<string> orphans = store.Orphans();
        foreach (string directory in orphans)
        {
            await DiscardAsync(directory, cancellationToken);
        }
        if (orphans.Count > 0)
        {
            logger.Swept(orphans.Count);
        }
        foreach (SnapshotRecord record in store.All.Where(record => record.Remote is not null && Directory.Exists(ImageOf(record.Id))))
        {
            await ReleaseAsync(record.Name, cancellationToken);
        }
    }

    // The name of the committed snapshot for a layer that need not be pulled; null when it must be.
    private async Task<string?> TryServeAsync(string parent, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        if (RemoteRequest.TryParse(labels, out string? reason) is not { } request)
        {
            if (reason is not null)
            {
                counters.FellBack("labels");
                logger.NotAskedFor(reason);
            }
            return null;
        }
        try
        {
            (RemoteLayer layer, Digest? below) = await access.OpenAsync(request, cancellationToken);
            CheckParent(parent, below, request);
            string name = NameOf(parent, request);
            if (store.Find(name) is null)
            {
                DateTime now = DateTime.UtcNow;
                store.Add(new SnapshotRecord { Name = name, Id = store.Reserve(), Kind = SnapshotKind.Committed, Parent = parent, Labels = labels, CreatedAt = now, UpdatedAt = now, Remote = layer });
            }
            counters.Add(NodeCounter.LayersServed);
            logger.LayerServed(layer.Layer, layer.Reference, request.Layer);
            return name;
        }
        catch (SnapshotException e) when (e.Code == StatusCode.AlreadyExists)
        {
            return NameOf(parent, request); // another pull was faster
        }
#pragma warning disable CA1031 // Whatever is wrong with an image here must not keep containerd from pulling it.
        catch (Exception e) when (e is not (SnapshotException or OperationCanceledException))
#pragma warning restore CA1031
        {
            string kind = e is ImageException known ? known.Error.ToString().ToLowerInvariant() : e is IOException or UnauthorizedAccessException ? "local" : "internal";
            counters.FellBack(kind);
            logger.FallingBack(kind == "internal" ? e : null, request.Reference.ToString(), request.Layer.ToString(), e.Message);
            return null;
        }
    }

    // containerd looks for what has its chain id and its parent, in any namespace: no other snapshot may have the name.
    private static string NameOf(string parent, RemoteRequest request)
        => "lazymount-" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes($"{parent}\n{request.ChainId}")));

    // What is shown is the image's layers up to this one whatever the parent is. That it is what they are made over must be true all the same:
    // an ordinary snapshot may be put between them.
    private void CheckParent(string parent, Digest? below, RemoteRequest request)
    {
        SnapshotRecord? record = parent.Length == 0 ? null : store.Get(parent);
        string? chain = record?.Remote?.ChainId.ToString() ?? record?.Labels.GetValueOrDefault(RemoteRequest.TargetLabel); // null: of a client that does not say it
        if (below is null != record is null || (chain is not null && chain != below.ToString()))
        {
            throw new ImageException(ImageError.Invalid,
                $"cannot open '{request.Reference}' lazily: the layer is made over {(below is null ? "nothing" : $"the layers {below}")}, but the parent that was given is {(record is null ? "none" : $"'{parent}' ({chain ?? "unknown"})")}");
        }
    }

    private async Task<IReadOnlyList<SnapshotMount>> MakeAsync(
        string key, string parent, IReadOnlyDictionary<string, string> labels, SnapshotKind kind, CancellationToken cancellationToken)
    {
        if (parent.Length > 0 && store.Get(parent).Kind != SnapshotKind.Committed)
        {
            throw SnapshotException.Invalid($"cannot make the snapshot '{key}': its parent '{parent}' is not committed");
        }
        long began = Stopwatch.GetTimestamp();
        DateTime now = DateTime.UtcNow;
        var record = new SnapshotRecord { Name = key, Id = store.Reserve(), Kind = kind, Parent = parent, Labels = labels, CreatedAt = now, UpdatedAt = now };
        bool isAdded = false;
        try
        {
            using (IDisposable? held = await LockServedAsync(parent, cancellationToken))
            {
                // The root of the container, for all its users.
                File.SetUnixFileMode(Directory.CreateDirectory(UpperOf(record.Id)).FullName, RootMode);
                Directory.CreateDirectory(WorkOf(record.Id));
                IReadOnlyList<SnapshotMount> made = await MountsOfAsync(record, cancellationToken);
                await TakeOwnerAsync(record, cancellationToken);
                store.Add(record);
                isAdded = true;
                if (ServedOf(parent) is { } served)
                {
                    counters.Add(NodeCounter.RootsPrepared);
                    long milliseconds = (long)Stopwatch.GetElapsedTime(began).TotalMilliseconds;
                    logger.RootReady(key, served.Remote!.Reference, milliseconds, kind == SnapshotKind.View ? "view" : "overlay");
                }
                return made;
            }
        }
        finally
        {
            if (!isAdded)
            {
                await DiscardAsync(store.DirectoryOf(record.Id), CancellationToken.None);
                store.Release(record.Id);
                await ReleaseAsync(parent, CancellationToken.None);
            }
        }
    }

    // An overlay's root has the owner of its upper directory. As containerd's own overlay snapshotter does.
    private async Task TakeOwnerAsync(SnapshotRecord record, CancellationToken cancellationToken)
    {
        if (record.Kind == SnapshotKind.Active && await LowersAsync(record, cancellationToken) is [var lower, ..])
        {
            Interop.CopyOwner(lower, UpperOf(record.Id));
        }
    }

    private async Task<IReadOnlyList<SnapshotMount>> MountsOfAsync(SnapshotRecord record, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> lowers = await LowersAsync(record, cancellationToken);
        string upper = UpperOf(record.Id);
        return (record.Kind, lowers) switch
        {
            (SnapshotKind.Active, []) => [new("bind", upper, ["rw", "rbind"])],
            (_, []) => [new("bind", upper, ["ro", "rbind"])],
            // Later containerds take what is read-only for a layer that is unpacked already.
            (SnapshotKind.Active, _) => [new("overlay", "overlay", ["rw", "index=off", $"workdir={WorkOf(record.Id)}", $"upperdir={upper}", $"lowerdir={string.Join(':', lowers)}"])],
            (_, [string only]) => [new("bind", only, ["ro", "rbind"])],
            _ => [new("overlay", "overlay", ["ro", "index=off", $"lowerdir={string.Join(':', lowers)}"])],
        };
    }

    // The directories below a snapshot, uppermost first; in a user namespace, with its ids.
    private async Task<IReadOnlyList<string>> LowersAsync(SnapshotRecord record, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> lowers = await LowersAsync(record.Parent, cancellationToken);
        if (IdMapping.Of(record.Labels) is not { } mapping)
        {
            return lowers;
        }
        List<string> mapped = [];
        foreach (string lower in lowers)
        {
            string target = Path.Combine(MappedOf(record.Id), $"{mapped.Count}");
            Directory.CreateDirectory(MappedOf(record.Id));
            if (!Interop.IsMounted(target))
            {
                Interop.Detach(target); // of an image whose mount had died
                Directory.CreateDirectory(target);
                await mapping.MountAsync(lower, target, cancellationToken);
            }
            mapped.Add(target);
        }
        return mapped;
    }

    // The directories below a snapshot, uppermost first. The mount of an image stands for all layers below it.
    private async Task<IReadOnlyList<string>> LowersAsync(string parent, CancellationToken cancellationToken)
    {
        List<string> lowers = [];
        foreach (SnapshotRecord below in store.Chain(parent))
        {
            if (below.Remote is not { } layer)
            {
                lowers.Add(UpperOf(below.Id));
                continue;
            }
            string directory = ImageOf(below.Id);
            try
            {
                await mounts.EnsureAsync(directory, layer.Reference, layer.Manifest, layer.Layer, cancellationToken);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or Fuse.FuseException)
            {
                throw new SnapshotException(StatusCode.Unavailable, e.Message, e);
            }
            lowers.Add(directory);
            break;
        }
        return lowers;
    }

    // The lazily served snapshot whose mount a child of this one uses, or null.
    private SnapshotRecord? ServedOf(string parent) => store.Chain(parent).FirstOrDefault(record => record.Remote is not null);

    private async Task<IDisposable?> LockServedAsync(string parent, CancellationToken cancellationToken)
        => ServedOf(parent) is { } served ? await _mounting.TakeAsync(served.Id, cancellationToken) : null;

    // Unmounts the image that children of a snapshot use, when there are none left.
    private async Task ReleaseAsync(string parent, CancellationToken cancellationToken)
    {
        try
        {
            if (ServedOf(parent) is { } served)
            {
                using IDisposable held = await _mounting.TakeAsync(served.Id, cancellationToken);
                if (!store.All.Any(record => record.Kind != SnapshotKind.Committed && ServedOf(record.Parent)?.Id == served.Id))
                {
                    await DiscardAsync(ImageOf(served.Id), cancellationToken);
                }
            }
        }
        catch (SnapshotException)
        {
            // A chain with a record that is lost: nobody can tell who uses what.
        }
    }

    // Removes a directory of ours with the image that is mounted in it. Nothing is removed that lies on a mount.
    private async Task DiscardAsync(string directory, CancellationToken cancellationToken)
    {
        if (!Directory.Exists(directory))
        {
            return;
        }
        string image = Path.GetFileName(directory) == ImageName ? directory : Path.Combine(directory, ImageName);
        try
        {
            string mapped = Path.Combine(directory, MappedName);
            foreach (string lower in Directory.Exists(mapped) ? Directory.GetDirectories(mapped) : [])
            {
                Interop.Detach(lower);
            }
            if (!mounts.Release(image))
            {
                return;
            }
            // Names in it need not be text.
            (int exitCode, _, string error) = await Helper.RunAsync("rm", ["-rf", "--one-file-system", "--", directory], null, cancellationToken);
            if (exitCode != 0)
            {
                logger.CannotRemove(directory, error.Trim().Split('\n')[0]);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            logger.CannotRemove(directory, e.Message);
        }
    }

    private const string ImageName = "image", MappedName = "lower";

    private string MappedOf(long id) => Path.Combine(store.DirectoryOf(id), MappedName);

    private string UpperOf(long id) => Path.Combine(store.DirectoryOf(id), "fs");

    private string WorkOf(long id) => Path.Combine(store.DirectoryOf(id), "work");

    private string ImageOf(long id) => Path.Combine(store.DirectoryOf(id), ImageName);

    private static void Check(string name, string parent, IReadOnlyDictionary<string, string> labels)
    {
        if (name.Length is 0 or > LongestName || parent.Length > LongestName)
        {
            throw SnapshotException.Invalid($"cannot use the snapshot: its name must have 1 to {LongestName} characters");
        }
        if (labels.Sum(label => (long)label.Key.Length + label.Value.Length) > MostLabelBytes)
        {
            throw SnapshotException.Invalid($"cannot use the snapshot '{name}': its labels have more than {MostLabelBytes >> 20} MiB");
        }
    }
}
