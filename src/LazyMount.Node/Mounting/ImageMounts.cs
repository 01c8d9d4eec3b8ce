using System.Diagnostics;
using System.Globalization;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Fuse;
using LazyMount.Indexes.Store;
using LazyMount.Node.Configuration;
using LazyMount.Node.Credentials;
using LazyMount.Node.Metrics;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Mounting;

/// <summary>
/// The mounts of images, each in processes of its own (`lazymount mount`), so that nothing that happens to this service reaches a container. A mount is
/// found again by its directory in the kernel's mount table; nothing else is written down.
/// </summary>
internal sealed class ImageMounts(NodeConfiguration configuration, PullCredentials credentials, NodeCounters counters, ILogger<ImageMounts> logger)
{
    // An image whose indexes are there is mounted in less than a second.
    private static readonly TimeSpan s_mounted = TimeSpan.FromSeconds(90);

    /// <summary>Makes sure that a directory shows an image: mounts it, or mounts it again when nobody serves the mount any more.</summary>
    /// <param name="directory">Made when it is missing. One caller at a time.</param>
    /// <param name="reference">The image, of a registry.</param>
    /// <param name="manifest">The manifest that the reference led to.</param>
    /// <param name="layer">The topmost layer that is shown; null for all.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <param name="isRoot">Devices and setuid programs count, because it becomes the root of containers.</param>
    /// <returns>True when it was mounted now.</returns>
    /// <exception cref="IOException">It cannot be mounted; says why in a sentence.</exception>
    public async Task<bool> EnsureAsync(string directory, string reference, Digest? manifest, int? layer, CancellationToken cancellationToken, bool isRoot = true)
    {
        if (MountPoint.At(directory) is { } there)
        {
            if (!there.IsDead())
            {
                return false;
            }
            logger.MountDead(directory, reference);
            counters.Add(NodeCounter.MountsRemade);
            MountPoint.Unmount(directory, lazy: true);
        }
        Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        long began = Stopwatch.GetTimestamp();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_mounted);
        Blobs.Registry.Accounts.Credentials? given = await credentials.ForAsync(ImageReference.Parse(reference), patience.Token);
        try
        {
            (int exitCode, _, string error) = await Helper.RunAsync(
                Program, Arguments(directory, reference, manifest, layer, isRoot, given is not null), given is null ? null : $"{given.UserName}:{given.Password}\n", patience.Token);
            if (exitCode != 0)
            {
                counters.Add(NodeCounter.FailedMounts);
                throw new IOException(error.Trim().Split('\n')[^1] is { Length: > 0 } sentence ? sentence : $"cannot mount '{reference}': '{Program}' ended with {exitCode}");
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            counters.Add(NodeCounter.FailedMounts);
            throw new IOException($"cannot mount '{reference}': it is not mounted after {s_mounted.TotalSeconds} s");
        }
        TimeSpan took = Stopwatch.GetElapsedTime(began);
        counters.Mounted(took);
        string layers = layer is int upper ? string.Create(CultureInfo.InvariantCulture, $"layers 0 to {upper}") : "all layers";
        long milliseconds = (long)took.TotalMilliseconds;
        logger.ImageMounted(reference, layers, directory, milliseconds);
        return true;
    }

    /// <summary>Unmounts a directory, if it shows an image; programs that have the image open go on. A failure is logged.</summary>
    /// <returns>False when it is still mounted.</returns>
    public bool Release(string directory)
    {
        if (MountPoint.At(directory) is not { } mount)
        {
            return true;
        }
        try
        {
            MountPoint.Unmount(directory, lazy: mount.IsDead());
            logger.ImageUnmounted(directory);
            return true;
        }
        catch (FuseException e)
        {
            logger.CannotUnmount(directory, e.Message);
            return false;
        }
    }

    /// <summary>The lazymount program: as configured, else beside this one, else in PATH.</summary>
    public string Program => configuration.Program ?? (Path.Combine(AppContext.BaseDirectory, "lazymount") is var beside && File.Exists(beside) ? beside : "lazymount");

    private List<string> Arguments(string directory, string reference, Digest? manifest, int? layer, bool isRoot, bool hasCredentials)
    {
        // As where an image was unpacked; nobody but containers reaches the directory.
        List<string> arguments = ["mount", "-o", isRoot ? "suid,dev,allow_other" : "allow_other"];
        if (layer is int top)
        {
            arguments.AddRange(["--layers", string.Create(CultureInfo.InvariantCulture, $"0..{top}")]);
        }
        if (manifest is { } digest)
        {
            arguments.AddRange(["--resolved", digest.ToString()]);
        }
        arguments.AddRange(["--cache-dir", configuration.CacheDirectory, "--cache-limit", configuration.CacheLimit.ToString(CultureInfo.InvariantCulture)]);
        arguments.AddRange(["--index-trust", configuration.IndexTrust switch
        {
            IndexTrust.Bound => "bound",
            IndexTrust.Registry => "registry",
            IndexTrust.None => "none",
            _ => "auto",
        }]);
        Blobs.Registry.RegistryOptions registries = configuration.Registries;
        arguments.AddRange(["--read-timeout", string.Create(CultureInfo.InvariantCulture, $"{registries.ReadTimeout.TotalSeconds}s"), "--tls-verify", registries.VerifiesTls ? "true" : "false"]);
        if (registries.PlainHttp)
        {
            arguments.Add("--plain-http");
        }
        if (registries.TlsCaFile is { } authority)
        {
            arguments.AddRange(["--tls-ca", authority]);
        }
        if (registries.AuthFile is { } accounts)
        {
            arguments.AddRange(["--authfile", accounts]);
        }
        foreach (Blobs.Registry.MirrorOption mirror in registries.Mirrors)
        {
            arguments.AddRange(["--mirror", $"{mirror.Registry}={mirror.Url}"]);
        }
        if (hasCredentials)
        {
            arguments.Add("--creds-stdin");
        }
        arguments.AddRange(["--", reference, directory]);
        return arguments;
    }
}
