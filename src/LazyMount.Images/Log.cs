using Microsoft.Extensions.Logging;

namespace LazyMount.Images;

internal static partial class Log
{
    [LoggerMessage(4, LogLevel.Warning, "{Image} is not a container image but an artifact of type {Type}")]
    public static partial void ArtifactOpened(this ILogger logger, string image, string type);

    [LoggerMessage(6, LogLevel.Critical, "No file of {Image} is served any more: {Reason}")]
    public static partial void ReadsRefused(this ILogger logger, string image, string reason);

    [LoggerMessage(7, LogLevel.Information, "The indexes of all layers of {Image} are what the layers hold")]
    public static partial void IndexesVerified(this ILogger logger, string image);

    [LoggerMessage(8, LogLevel.Warning, "Layer {Digest} could not be verified: {Reason}")]
    public static partial void LayerNotVerified(this ILogger logger, string digest, string reason);
}
