using LazyMount.Indexes.Model;
using Microsoft.Extensions.Logging;

namespace LazyMount.Indexes;

internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "indexed layer {Digest}: {Entries} entries, {UncompressedSize} bytes, {Spans} spans")]
    public static partial void LayerIndexed(this ILogger logger, string digest, int entries, long uncompressedSize, int spans);

    [LoggerMessage(2, LogLevel.Warning, "layer {Digest}: {Path} is left out: {Reason}")]
    public static partial void EntrySkipped(this ILogger logger, string digest, string path, string reason);

    [LoggerMessage(3, LogLevel.Warning, "layer {Digest}: {Count} more entries were left out")]
    public static partial void MoreEntriesSkipped(this ILogger logger, string digest, int count);

    [LoggerMessage(4, LogLevel.Warning, "cannot keep the index of layer {Digest} in the cache, so it is built again next time: {Reason}")]
    public static partial void IndexNotSaved(this ILogger logger, string digest, string reason);

    [LoggerMessage(20, LogLevel.Information, "layer {Digest} is served by the {Origin} index {Index} ({Bytes} bytes)")]
    public static partial void PublishedIndexUsed(this ILogger logger, string digest, IndexOrigin origin, string index, long bytes);

    [LoggerMessage(21, LogLevel.Warning, "the published index {Index} of {Digest} is not used: {Reason}")]
    public static partial void PublishedIndexUnusable(this ILogger logger, string digest, string index, string reason);

    [LoggerMessage(22, LogLevel.Warning, "cannot look for published indexes of '{Image}': {Reason}")]
    public static partial void ReferrersUnavailable(this ILogger logger, string image, string reason);

    [LoggerMessage(9, LogLevel.Warning, "only {Voucher} vouches for layer {Digest} ({Origin}); --index-trust bound reads such a layer whole and verifies it")]
    public static partial void LayerBelieved(this ILogger logger, string digest, IndexOrigin origin, string voucher);

    [LoggerMessage(7, LogLevel.Information, "layer {Digest} has a table of contents ({Origin}): {Entries} entries for {Bytes} bytes in {Requests} requests")]
    public static partial void TocRead(this ILogger logger, string digest, IndexOrigin origin, int entries, long bytes, int requests);

    [LoggerMessage(8, LogLevel.Warning, "cannot use the table of contents of layer {Digest}, so the whole layer is read: {Reason}")]
    public static partial void TocUnusable(this ILogger logger, string digest, string reason);
}
