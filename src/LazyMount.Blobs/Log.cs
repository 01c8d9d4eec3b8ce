using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs;

/// <summary>Every event that this part logs. No URL here holds a query or user info.</summary>
internal static partial class Log
{
    [LoggerMessage(Level = LogLevel.Debug, Message = "{Method} {Url}: {Status}")]
    public static partial void Answered(this ILogger logger, string method, string url, int status);

    [LoggerMessage(Level = LogLevel.Information, Message = "Trying again in {Delay} (attempt {Attempt}): {Reason}")]
    public static partial void Retrying(this ILogger logger, TimeSpan delay, int attempt, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Blob {Digest} stopped at byte {BlobOffset}; going on from there: {Reason}")]
    public static partial void Resuming(this ILogger logger, Digest digest, long blobOffset, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Registry {Registry} on loopback does not speak TLS: using plain HTTP")]
    public static partial void FellBackToHttp(this ILogger logger, string registry);

    [LoggerMessage(Level = LogLevel.Information, Message = "The registry does not have the foreign layer {Digest}: fetching it from {Host}")]
    public static partial void FetchedElsewhere(this ILogger logger, Digest digest, string host);

    [LoggerMessage(Level = LogLevel.Information, Message = "Passing over the mirror {Mirror}: {Reason}")]
    public static partial void MirrorPassedOver(this ILogger logger, string mirror, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Ignoring {Path}: {Reason}")]
    public static partial void CredentialsIgnored(this ILogger logger, string path, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The token server of {Registry} refuses the credentials ({Account}): going on as nobody in particular")]
    public static partial void CredentialsRefused(this ILogger logger, string registry, string account);

    [LoggerMessage(Level = LogLevel.Information, Message = "Registry {Registry} does not give ranges ({Reason}): reading the whole blob")]
    public static partial void RangesRefused(this ILogger logger, string registry, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Cached blob {Digest} is not usable and is fetched instead: {Reason}")]
    public static partial void CachedBlobUnusable(this ILogger logger, Digest digest, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Chunk {Chunk} of blob {Digest} in the cache is damaged and is fetched again: {Reason}")]
    public static partial void CachedChunkDropped(this ILogger logger, Digest digest, int chunk, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Chunks of blob {Digest} cannot be kept in the cache and will be fetched again when they are wanted again: {Reason}")]
    public static partial void ChunkNotKept(this ILogger logger, Digest digest, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Chunk {Chunk} of blob {Digest} does not match its SHA-256; fetching it once more")]
    public static partial void ChunkMismatch(this ILogger logger, Digest digest, int chunk);
}
