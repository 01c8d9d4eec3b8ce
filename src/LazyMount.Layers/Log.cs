using Microsoft.Extensions.Logging;

namespace LazyMount.Layers;

internal static partial class Log
{
    [LoggerMessage(6, LogLevel.Warning, "the transcoded form of layer {Digest} is missing or damaged in the cache and is made again")]
    public static partial void TranscodingRebuilt(this ILogger logger, string digest);

    [LoggerMessage(4, LogLevel.Warning, "cannot keep the index of {Digest} in the cache, so it is built again next time: {Reason}")]
    public static partial void IndexNotSaved(this ILogger logger, string digest, string reason);
}
