using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs;

/// <summary>Every event that this part logs. No URL here holds a query or user info.</summary>
internal static partial class Log
{
    [LoggerMessage(Level = LogLevel.Debug, Message = "{Method} {Url}: {Status}")]
    public static partial void Answered(this ILogger logger, string method, string url, int status);

    [LoggerMessage(Level = LogLevel.Information, Message = "trying again in {Delay} (attempt {Attempt}): {Reason}")]
    public static partial void Retrying(this ILogger logger, TimeSpan delay, int attempt, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "blob {Digest} stopped at byte {BlobOffset}; continuing from there: {Reason}")]
    public static partial void Resuming(this ILogger logger, Digest digest, long blobOffset, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "registry {Registry} on loopback does not speak TLS: using plain HTTP")]
    public static partial void FellBackToHttp(this ILogger logger, string registry);

    [LoggerMessage(Level = LogLevel.Information, Message = "the registry does not have the foreign layer {Digest}: fetching it from {Host}")]
    public static partial void FetchedElsewhere(this ILogger logger, Digest digest, string host);

    [LoggerMessage(Level = LogLevel.Information, Message = "skipping the mirror {Mirror}: {Reason}")]
    public static partial void MirrorPassedOver(this ILogger logger, string mirror, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "ignoring {Path}: {Reason}")]
    public static partial void CredentialsIgnored(this ILogger logger, string path, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the token server of {Registry} refuses {Account}: continuing without credentials")]
    public static partial void CredentialsRefused(this ILogger logger, string registry, string account);

    [LoggerMessage(Level = LogLevel.Information, Message = "registry {Registry} does not serve byte ranges ({Reason}): reading the whole blob")]
    public static partial void RangesRefused(this ILogger logger, string registry, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the cached blob {Digest} cannot be used and is fetched again: {Reason}")]
    public static partial void CachedBlobUnusable(this ILogger logger, Digest digest, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "chunk {Chunk} of blob {Digest} in the cache is damaged and is fetched again: {Reason}")]
    public static partial void CachedChunkDropped(this ILogger logger, Digest digest, int chunk, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "cannot keep chunks of blob {Digest} in the cache, so they are fetched again for each read: {Reason}")]
    public static partial void ChunkNotKept(this ILogger logger, Digest digest, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "chunk {Chunk} of blob {Digest} does not match its SHA-256; fetching it once more")]
    public static partial void ChunkMismatch(this ILogger logger, Digest digest, int chunk);
}
