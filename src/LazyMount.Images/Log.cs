using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

internal static partial class Log
{
    [LoggerMessage(4, LogLevel.Warning, "'{Image}' is not a container image but an artifact of type {Type}")]
    public static partial void ArtifactOpened(this ILogger logger, string image, string type);

    [LoggerMessage(10, LogLevel.Warning, "cannot keep the image's tree in the cache, so it is kept in memory: {Reason}")]
    public static partial void TreeNotSaved(this ILogger logger, string reason);

    [LoggerMessage(7, LogLevel.Information, "the indexes of all layers of '{Image}' match the layers")]
    public static partial void IndexesVerified(this ILogger logger, string image);

    [LoggerMessage(8, LogLevel.Warning, "cannot verify layer {Digest}: {Reason}")]
    public static partial void LayerNotVerified(this ILogger logger, string digest, string reason);

    [LoggerMessage(9, LogLevel.Warning, "--verify-full of '{Image}' has ended, but {Count} of {Total} layers could not be verified")]
    public static partial void IndexesNotVerified(this ILogger logger, string image, int count, int total);
}
