using Microsoft.Extensions.Logging;

namespace LazyMount.Output;

/// <summary>What the command itself logs.</summary>
internal static partial class LogEvents
{
    [LoggerMessage(1, LogLevel.Information, "mounted '{Image}' ({Manifest}, {Names} names) on '{Directory}'")]
    public static partial void Mounted(this ILogger logger, string image, string manifest, int names, string directory);

    [LoggerMessage(15, LogLevel.Information, "mounted by FUSE instead of EROFS: {Reason}")]
    public static partial void ShownByFuse(this ILogger logger, string reason);

    [LoggerMessage(14, LogLevel.Information, "proofs of the layers of '{Image}': {Vouchers}")]
    public static partial void Vouched(this ILogger logger, string image, string vouchers);

    [LoggerMessage(2, LogLevel.Warning, "'{Directory}' is in use and was detached: it ends when the last program has left it; at the next signal those that use it get errors")]
    public static partial void DetachedWhileBusy(this ILogger logger, string directory);

    [LoggerMessage(3, LogLevel.Critical, "the mount on '{Directory}' failed: {Reason}")]
    public static partial void MountFailed(this ILogger logger, Exception exception, string directory, string reason);

    [LoggerMessage(6, LogLevel.Critical, "no file of '{Image}' can be read any more: {Reason}")]
    public static partial void ReadsRefused(this ILogger logger, string image, string reason);

    [LoggerMessage(5, LogLevel.Information, "prefetched {Bytes} bytes")]
    public static partial void Prefetched(this ILogger logger, long bytes);

    [LoggerMessage(9, LogLevel.Warning, "'{Directory}' was still in use, by a program or in another mount namespace such as a container's: the connection was ended, and accesses fail")]
    public static partial void EndedWhileInUse(this ILogger logger, string directory);

    [LoggerMessage(10, LogLevel.Error, "'{Directory}' was left at once: a task did not end in time")]
    public static partial void EndedAtOnce(this ILogger logger, string directory);

    [LoggerMessage(16, LogLevel.Warning, "the process that served this mount died ({Reason}); another one goes on")]
    public static partial void WorkerDied(this ILogger logger, string reason);

    [LoggerMessage(18, LogLevel.Error, "the image on '{Directory}' cannot be opened again now, so that every access fails until it can: {Reason}")]
    public static partial void CannotOpenAgain(this ILogger logger, string directory, string reason);

    [LoggerMessage(17, LogLevel.Critical, "no file of '{Image}' on '{Directory}' can be read any more: the tree of the image is not the one that was mounted; unmount the image, and mount it again")]
    public static partial void TreeDiffers(this ILogger logger, string image, string directory);

    [LoggerMessage(11, LogLevel.Warning, "cannot unmount '{Directory}': {Reason}")]
    public static partial void CannotUnmount(this ILogger logger, string directory, string reason);

    [LoggerMessage(12, LogLevel.Error, "{Work} failed: {Reason}")]
    public static partial void WorkFailed(this ILogger logger, Exception exception, string work, string reason);

    [LoggerMessage(19, LogLevel.Warning, "{Sentence}")]
    public static partial void ImageNote(this ILogger logger, string sentence);

    [LoggerMessage(20, LogLevel.Error, "cannot answer {Method} {Target}: {Reason}")]
    public static partial void RequestFailed(this ILogger logger, Exception? exception, string method, string target, string reason);
}
