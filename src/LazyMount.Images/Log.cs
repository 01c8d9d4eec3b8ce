using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

internal static partial class Log
{
    [LoggerMessage(4, LogLevel.Warning, "{Image} is not a container image but an artifact of type {Type}")]
    public static partial void ArtifactOpened(this ILogger logger, string image, string type);

    [LoggerMessage(10, LogLevel.Warning, "The tree of the image cannot be kept in the cache and is in memory: {Reason}")]
    public static partial void TreeNotSaved(this ILogger logger, string reason);

    [LoggerMessage(7, LogLevel.Information, "The indexes of all layers of {Image} are what the layers hold")]
    public static partial void IndexesVerified(this ILogger logger, string image);

    [LoggerMessage(8, LogLevel.Warning, "Layer {Digest} could not be verified: {Reason}")]
    public static partial void LayerNotVerified(this ILogger logger, string digest, string reason);

    [LoggerMessage(9, LogLevel.Warning, "--verify-full of {Image} has ended, but {Count} of {Total} layers could not be verified")]
    public static partial void IndexesNotVerified(this ILogger logger, string image, int count, int total);
}
