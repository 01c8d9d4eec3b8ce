using System.Buffers;
using System.Globalization;
using LazyMount.FileSystem;
using LazyMount.Output;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Headers;
using Microsoft.Net.Http.Headers;

namespace LazyMount.Serving;

/// <summary>
/// Answers GET and HEAD of a regular file, with ranges and conditions. Nothing that an image holds is run by a browser: it is sent to be saved, or
/// as a picture, and in a sandbox either way.
/// </summary>
internal static class FileAnswer
{
    /// <summary>Bytes that are read at once. With what the server holds back for a slow client it bounds the memory of one answer.</summary>
    private const int ReadSize = 64 << 10;

    // Reads at once, whoever waits for them: a decoded span is held during a read, and not while a client is written to.
    private static readonly SemaphoreSlim s_reads = new(32);

    /// <summary>The entity tag of a file: what else has the same one is the same file of the same tree.</summary>
    public static string TagOf(TreeView view, ulong node) => $"\"{view.Tree.Digest.Hex[..16]}-{node.ToString("x", CultureInfo.InvariantCulture)}\"";

    /// <summary>Sends a file, or that it has not changed.</summary>
    /// <param name="request">The request.</param>
    /// <param name="view">The tree.</param>
    /// <param name="node">The file.</param>
    /// <param name="path">Its path, for messages.</param>
    /// <param name="pictureType">The media type of a picture that is shown in a page; null for everything else.</param>
    public static async Task SendAsync(WebRequest request, TreeView view, ulong node, string path, string? pictureType)
    {
        HttpResponse response = request.Response;
        NodeAttributes attributes = view.Tree.Attributes(node);
        var tag = new EntityTagHeaderValue(TagOf(view, node));
        IHeaderDictionary headers = response.Headers;
        headers.ETag = tag.ToString();
        headers.AcceptRanges = "bytes";
        headers.CacheControl = "private, no-cache"; // kept, and asked for again with its tag
        headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"; // of a picture in SVG, too
        if (EntryFormat.IsInCalendar(attributes.MtimeSeconds))
        {
            headers.LastModified = TimeOf(attributes).ToString("R", CultureInfo.InvariantCulture);
        }
        (int status, long start, long length) = Choose(request.Context.Request, tag, attributes);
        response.StatusCode = status;
        if (status is StatusCodes.Status304NotModified or StatusCodes.Status412PreconditionFailed)
        {
            return;
        }
        if (status == StatusCodes.Status416RangeNotSatisfiable)
        {
            headers.ContentRange = $"bytes */{attributes.Size.ToString(CultureInfo.InvariantCulture)}";
            return;
        }
        headers.ContentType = pictureType ?? "application/octet-stream";
        if (pictureType is null)
        {
            headers.ContentDisposition = "attachment";
        }
        if (status == StatusCodes.Status206PartialContent)
        {
            headers.ContentRange = string.Create(CultureInfo.InvariantCulture, $"bytes {start}-{start + length - 1}/{attributes.Size}");
        }
        response.ContentLength = length;
        if (!HttpMethods.IsHead(request.Context.Request.Method))
        {
            await WriteAsync(request, view, node, start, length, path);
        }
    }

    /// <summary>Reads a part of a file into memory, such as what a page shows of it.</summary>
    public static async Task<byte[]> ReadAsync(TreeView view, ulong node, long start, int length, string path, CancellationToken cancellationToken)
    {
        length = (int)Math.Clamp(view.Tree.Size(node) - start, 0, length);
        byte[] bytes = new byte[length];
        var data = new FileData();
        for (int done = 0; done < length;)
        {
            done += await ReadAsync(view, node, start + done, length - done, data, path, (piece, at) => piece.CopyTo(bytes.AsSpan(at)), done, cancellationToken);
        }
        return bytes;
    }

    // What cannot be read throws: before the first byte that is an answer with a sentence, later it breaks the connection.
    private static async Task WriteAsync(WebRequest request, TreeView view, ulong node, long start, long length, string path)
    {
        var data = new FileData();
        for (long done = 0; done < length;)
        {
            int wanted = (int)Math.Min(ReadSize, length - done);
            int count = await ReadAsync(view, node, start + done, wanted, data, path, (piece, _) => request.Response.BodyWriter.Write(piece), 0, request.Aborted);
            view.Opened.Image.FileSystem.Counters.Add(Blobs.Counting.Counter.ServedBytes, count);
            done += count;
            await request.Response.BodyWriter.FlushAsync(request.Aborted);
        }
    }

    private delegate void PieceTaker(ReadOnlySpan<byte> piece, int at);

    private static async Task<int> ReadAsync(TreeView view, ulong node, long offset, int length, FileData data, string path, PieceTaker take, int at, CancellationToken cancellationToken)
    {
        await s_reads.WaitAsync(cancellationToken);
        try
        {
            if (!view.Opened.Image.FileSystem.TryRead(node, offset, length, data))
            {
                await view.Opened.ReadAsync(node, offset, length, data, path, cancellationToken);
            }
            for (int piece = 0; piece < data.Count; piece++)
            {
                take(data[piece], at);
                at += data[piece].Length;
            }
            return data.Length;
        }
        finally
        {
            data.Clear();
            s_reads.Release();
        }
    }

    // RFC 9110, 13.2.2. A date of the client's does not count where it would spare it a file: files of different images often have one time.
    private static (int Status, long Start, long Length) Choose(HttpRequest request, EntityTagHeaderValue tag, in NodeAttributes attributes)
    {
        var conditions = new RequestHeaders(request.Headers);
        if (conditions.IfMatch is { Count: > 0 } wanted
            ? !wanted.Any(each => each.Equals(EntityTagHeaderValue.Any) || each.Compare(tag, useStrongComparison: true))
            : conditions.IfUnmodifiedSince is { } since && EntryFormat.IsInCalendar(attributes.MtimeSeconds) && TimeOf(attributes) > since)
        {
            return (StatusCodes.Status412PreconditionFailed, 0, 0);
        }
        if (conditions.IfNoneMatch is { Count: > 0 } known && known.Any(each => each.Equals(EntityTagHeaderValue.Any) || each.Compare(tag, useStrongComparison: false)))
        {
            return (StatusCodes.Status304NotModified, 0, 0);
        }
        bool isWhole = !HttpMethods.IsGet(request.Method) || conditions.Range is not { } header || header.Unit != "bytes" || header.Ranges.Count != 1
            || (request.Headers.IfRange.Count > 0 && conditions.IfRange?.EntityTag?.Compare(tag, useStrongComparison: true) != true);
        if (isWhole)
        {
            return (StatusCodes.Status200OK, 0, attributes.Size);
        }
        RangeItemHeaderValue range = conditions.Range!.Ranges.First();
        long start = range.From ?? Math.Max(0, attributes.Size - range.To!.Value);
        long end = range.From is null ? attributes.Size : Math.Min(attributes.Size, (range.To is { } to and < long.MaxValue ? to : long.MaxValue - 1) + 1);
        return start >= end ? (StatusCodes.Status416RangeNotSatisfiable, 0, 0) : (StatusCodes.Status206PartialContent, start, end - start);
    }

    private static DateTimeOffset TimeOf(in NodeAttributes attributes) => DateTimeOffset.FromUnixTimeSeconds(attributes.MtimeSeconds);
}
