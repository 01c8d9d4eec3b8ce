using Microsoft.Extensions.Logging;

namespace LazyMount.Output;

/// <summary>What the command itself logs.</summary>
internal static partial class LogEvents
{
    [LoggerMessage(1, LogLevel.Information, "Mounted {Image} ({Manifest}, {Names} names) on {Directory}")]
    public static partial void Mounted(this ILogger logger, string image, string manifest, int names, string directory);

    [LoggerMessage(15, LogLevel.Information, "Shown by FUSE and not by EROFS: {Reason}")]
    public static partial void ShownByFuse(this ILogger logger, string reason);

    [LoggerMessage(14, LogLevel.Information, "Who vouches for the layers of {Image}: {Vouchers}")]
    public static partial void Vouched(this ILogger logger, string image, string vouchers);

    [LoggerMessage(2, LogLevel.Warning, "{Directory} is in use: detached; what still uses it in {Seconds} seconds, or at the next signal, gets errors")]
    public static partial void DetachedWhileBusy(this ILogger logger, string directory, double seconds);

    [LoggerMessage(3, LogLevel.Critical, "The mount on {Directory} failed: {Reason}")]
    public static partial void MountFailed(this ILogger logger, Exception exception, string directory, string reason);

    [LoggerMessage(6, LogLevel.Critical, "No file of {Image} can be read any more: {Reason}")]
    public static partial void ReadsRefused(this ILogger logger, string image, string reason);

    [LoggerMessage(5, LogLevel.Information, "Fetched {Bytes} bytes ahead of who will read them")]
    public static partial void Prefetched(this ILogger logger, long bytes);

    [LoggerMessage(9, LogLevel.Warning, "{Directory} was still in use, by a program or in another mount namespace (a container's, perhaps): the connection was ended, and accesses fail")]
    public static partial void EndedWhileInUse(this ILogger logger, string directory);

    [LoggerMessage(10, LogLevel.Error, "{Directory} was left at once: something did not end in time")]
    public static partial void EndedAtOnce(this ILogger logger, string directory);

    [LoggerMessage(11, LogLevel.Warning, "Cannot unmount {Directory}: {Reason}")]
    public static partial void CannotUnmount(this ILogger logger, string directory, string reason);

    [LoggerMessage(12, LogLevel.Error, "{Work} failed: {Reason}")]
    public static partial void WorkFailed(this ILogger logger, Exception exception, string work, string reason);
}
