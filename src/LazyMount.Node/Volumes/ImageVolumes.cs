using System.ComponentModel;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Images;
using LazyMount.Node.Configuration;
using LazyMount.Node.Credentials;
using LazyMount.Node.Mounting;
using LazyMount.Node.Snapshots;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Volumes;

/// <summary>
/// Images as volumes of pods. One mount of an image serves all its volumes: each is a read-only bind of it, or an overlay on it whose changes end with
/// the volume. Records are on disk; one call at a time is served.
/// </summary>
internal sealed class ImageVolumes : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private static readonly TimeSpan s_resolved = TimeSpan.FromSeconds(30);

    private readonly string _root;
    private readonly NodeConfiguration _configuration;
    private readonly PullCredentials _credentials;
    private readonly ImageMounts _mounts;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _turn = new(1);

    /// <exception cref="IOException">The directories cannot be made.</exception>
    public ImageVolumes(NodeConfiguration configuration, PullCredentials credentials, ImageMounts mounts, ILoggerFactory loggers)
    {
        _root = Path.Combine(configuration.Root, "volumes");
        (_configuration, _credentials, _mounts, _loggers, _logger) = (configuration, credentials, mounts, loggers, loggers.CreateLogger<ImageVolumes>());
        foreach (string directory in (string[])[_root, Path.Combine(_root, "records"), Path.Combine(_root, "images"), Path.Combine(_root, "changes")])
        {
            Directory.CreateDirectory(directory, OwnerOnly);
        }
        AtomicFile.Sweep(Path.Combine(_root, "records"));
    }

    /// <summary>Shows an image in a directory, which is made. Does nothing when it is there.</summary>
    /// <param name="target">Absolute, below the kubelet's directory.</param>
    /// <param name="reference">The image, of a registry.</param>
    /// <param name="isWritable">Changes are possible, and end with the volume.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <exception cref="SnapshotException">It cannot be shown; nothing is left.</exception>
    public async Task PublishAsync(string target, ImageReference reference, bool isWritable, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            if (Find(target) is { } before)
            {
                if (before.Reference != reference.ToString() || before.IsWritable != isWritable)
                {
                    throw new SnapshotException(StatusCode.AlreadyExists, $"cannot publish '{reference}' on '{target}': {before.Reference} is published there{(before.IsWritable ? ", writable" : "")}");
                }
                if (Interop.IsMounted(target) && Fuse.MountPoint.At(target)?.IsDead() != true && !await RemakeAsync(before, cancellationToken))
                {
                    return;
                }
                await TakeAwayAsync(before, CancellationToken.None); // of a service that was killed half-way, or whose mount has died
            }
            else if (Interop.IsMounted(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
            {
                throw new SnapshotException(StatusCode.FailedPrecondition, $"cannot publish '{reference}' on '{target}': the directory is in use; unmount or empty it");
            }
            var record = new VolumeRecord(target, reference.ToString(), await ResolveAsync(reference, cancellationToken), isWritable);
            try
            {
                AtomicFile.Write(RecordOf(target), JsonSerializer.SerializeToUtf8Bytes(record, VolumeJson.Default.VolumeRecord), durable: true);
                await RemakeAsync(record, cancellationToken);
                Show(record);
            }
            catch
            {
                await TakeAwayAsync(record, CancellationToken.None);
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SnapshotException(e is ImageException { Error: ImageError.NotFound } ? StatusCode.NotFound : e is ImageException { Error: ImageError.Denied } ? StatusCode.PermissionDenied : StatusCode.Unavailable, e.Message, e);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Takes a volume away with its directory. Does nothing when it is gone.</summary>
    public async Task UnpublishAsync(string target, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            if (Find(target) is { } record)
            {
                await TakeAwayAsync(record, cancellationToken);
                return;
            }
            // Its record is lost: what is mounted there is still ours to take away, when it is an image.
            while (Fuse.MountPoint.At(target) is not null && Interop.Detach(target))
            {
            }
            if (Directory.Exists(target) && !Interop.IsMounted(target) && !Directory.EnumerateFileSystemEntries(target).Any())
            {
                Directory.Delete(target);
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Whether a volume is shown in a directory.</summary>
    public bool IsPublished(string target) => Find(target) is not null && Interop.IsMounted(target);

    public void Dispose() => _turn.Dispose();

    private void Show(VolumeRecord record)
    {
        Directory.CreateDirectory(record.Target, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute);
        string image = ImageOf(record);
        int? error;
        if (record.IsWritable)
        {
            string changes = ChangesOf(record.Target), upper = Path.Combine(changes, "fs"), work = Path.Combine(changes, "work");
            Directory.CreateDirectory(upper);
            Directory.CreateDirectory(work);
            Interop.CopyOwner(image, upper);
            error = Interop.MountOverlay(record.Target, $"index=off,workdir={work},upperdir={upper},lowerdir={image}");
        }
        else
        {
            error = Interop.Bind(image, record.Target, isReadOnly: true);
        }
        if (error is int number)
        {
            throw new SnapshotException(StatusCode.Internal, $"cannot publish '{record.Reference}' on '{record.Target}': {new Win32Exception(number).Message}");
        }
    }

    // True when the image's mount is another one now than before.
    private Task<bool> RemakeAsync(VolumeRecord record, CancellationToken cancellationToken)
        => _mounts.EnsureAsync(ImageOf(record), record.Reference, record.Manifest, null, cancellationToken, isRoot: false);

    private async Task TakeAwayAsync(VolumeRecord record, CancellationToken cancellationToken)
    {
        while (Interop.Detach(record.Target))
        {
            // Until nothing is mounted there.
        }
        try
        {
            if (Directory.Exists(record.Target))
            {
                Directory.Delete(record.Target);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _logger.CannotRemove(record.Target, e.Message);
        }
        string changes = ChangesOf(record.Target);
        if (Directory.Exists(changes))
        {
            await Helper.RunAsync("rm", ["-rf", "--one-file-system", "--", changes], null, cancellationToken);
        }
        File.Delete(RecordOf(record.Target));
        string image = ImageOf(record);
        if (!All().Any(other => ImageOf(other) == image) && _mounts.Release(image) && Directory.Exists(image))
        {
            Directory.Delete(image);
        }
    }

    private async Task<Digest> ResolveAsync(ImageReference reference, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_resolved);
        try
        {
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, new OpeningOptions
            {
                Cache = new BlobCache(_configuration.CacheDirectory, _configuration.CacheLimit),
                Registries = _configuration.Registries with { Credentials = await _credentials.ForAsync(reference, patience.Token) },
            }, _loggers, patience.Token);
            return resolved.Image.ManifestDescriptor.Digest;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ImageException(ImageError.Unreachable, $"cannot read the manifest of '{reference}': the registry has not answered in {s_resolved.TotalSeconds:0} s");
        }
    }

    private VolumeRecord? Find(string target)
    {
        string file = RecordOf(target);
        return File.Exists(file) ? TryRead(file) : null;
    }

    private IEnumerable<VolumeRecord> All() => Directory.EnumerateFiles(Path.Combine(_root, "records"), "*.json").Select(TryRead).OfType<VolumeRecord>();

    private VolumeRecord? TryRead(string file)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(file), VolumeJson.Default.VolumeRecord);
        }
        catch (JsonException e)
        {
            _logger.RecordUnreadable(file, e.Message);
            return null;
        }
    }

    private string RecordOf(string target) => Path.Combine(_root, "records", Hash(target) + ".json");

    private string ChangesOf(string target) => Path.Combine(_root, "changes", Hash(target));

    // References with other credentials are other mounts.
    private string ImageOf(VolumeRecord record) => Path.Combine(_root, "images", Hash($"{record.Reference}\n{record.Manifest}"));

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)).AsSpan(0, 16));
}
