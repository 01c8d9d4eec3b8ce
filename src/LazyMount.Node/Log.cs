using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node;

/// <summary>All events that the service logs.</summary>
internal static partial class Log
{
    [LoggerMessage(Level = LogLevel.Information, Message = "serving on {Socket}: {Snapshots} snapshots, root {Root}")]
    public static partial void Serving(this ILogger logger, string socket, int snapshots, string root);

    [LoggerMessage(Level = LogLevel.Information, Message = "stopping: mounts and containers go on")]
    public static partial void Stopping(this ILogger logger);

    [LoggerMessage(Level = LogLevel.Error, Message = "cannot read the record '{File}': {Reason}; the snapshot is lost, remove the file")]
    public static partial void RecordUnreadable(this ILogger logger, string file, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "layer {Layer} of {Image} ({Digest}) is served lazily")]
    public static partial void LayerServed(this ILogger logger, int layer, string image, Digest digest);

    [LoggerMessage(Level = LogLevel.Warning, Message = "falling back to the ordinary pull of {Image}, layer {Digest}: {Reason}")]
    public static partial void FallingBack(this ILogger logger, Exception? exception, string image, string digest, string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "an ordinary pull of a layer: {Reason}")]
    public static partial void NotAskedFor(this ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "container root '{Key}' of {Image} is ready in {Milliseconds} ms ({How})")]
    public static partial void RootReady(this ILogger logger, string key, string image, long milliseconds, string how);

    [LoggerMessage(Level = LogLevel.Information, Message = "mounted {Image}, {Layers}, on '{Directory}' in {Milliseconds} ms")]
    public static partial void ImageMounted(this ILogger logger, string image, string layers, string directory, long milliseconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the mount on '{Directory}' is dead: mounting {Image} again; containers that used it must be restarted")]
    public static partial void MountDead(this ILogger logger, string directory, string image);

    [LoggerMessage(Level = LogLevel.Information, Message = "unmounted '{Directory}': no container uses it")]
    public static partial void ImageUnmounted(this ILogger logger, string directory);

    [LoggerMessage(Level = LogLevel.Warning, Message = "cannot unmount '{Directory}': {Reason}; it is tried again later")]
    public static partial void CannotUnmount(this ILogger logger, string directory, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "cannot remove '{Directory}': {Reason}; it is tried again later")]
    public static partial void CannotRemove(this ILogger logger, string directory, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "removed {Count} directories that belong to no snapshot")]
    public static partial void Swept(this ILogger logger, int count);

    [LoggerMessage(Level = LogLevel.Error, Message = "a request failed: {Reason}")]
    public static partial void RequestFailed(this ILogger logger, Exception exception, string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "the kubelet gave credentials for {Image}: kept in memory")]
    public static partial void CredentialsRemembered(this ILogger logger, string image);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the credential provider '{Command}' gives nothing for {Image}: {Reason}")]
    public static partial void ProviderFailed(this ILogger logger, string command, string image, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Note}")]
    public static partial void Noted(this ILogger logger, string note);
}
