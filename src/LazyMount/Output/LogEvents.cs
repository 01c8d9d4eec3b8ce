using Microsoft.Extensions.Logging;

namespace LazyMount.Output;

/// <summary>What the command itself logs.</summary>
internal static partial class LogEvents
{
    [LoggerMessage(1, LogLevel.Information, "Mounted {Image} ({Manifest}, {Names} names) on {Directory}")]
    public static partial void Mounted(this ILogger logger, string image, string manifest, int names, string directory);

    [LoggerMessage(9, LogLevel.Information, "Who vouches for the layers of {Image}: {Vouchers}")]
    public static partial void Vouched(this ILogger logger, string image, string vouchers);

    [LoggerMessage(2, LogLevel.Warning, "{Directory} is in use: detached now, ends when its last user leaves; signal again to end at once")]
    public static partial void DetachedWhileBusy(this ILogger logger, string directory);

    [LoggerMessage(3, LogLevel.Critical, "The mount on {Directory} failed")]
    public static partial void MountFailed(this ILogger logger, Exception exception, string directory);

    [LoggerMessage(5, LogLevel.Information, "Fetched {Bytes} bytes ahead of who will read them")]
    public static partial void Prefetched(this ILogger logger, long bytes);
}
