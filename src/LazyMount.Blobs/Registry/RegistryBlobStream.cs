using System.Diagnostics;
using System.Net;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// A range of a blob as it comes from the registry. When the body breaks off, the rest is asked for from the byte where
/// it stopped; progress earns new patience, so that a long blob on a bad line gets through and a dead one does not hang. A body that comes too
/// slowly is given up (<see cref="BodyPace"/>).
/// </summary>
internal sealed class RegistryBlobStream : ForwardStream
{
    private const long MaxSkip = 4 << 20; // bytes of a body that is there: passing them over is sooner done than asking again
    private const long Progress = 64 << 10;

    private readonly RegistryClient _client;
    private readonly ILogger _logger;
    private readonly Descriptor _blob;
    private readonly string _subject;
    private readonly Uri? _elsewhere;
    private readonly BodyPace _pace;
    private readonly long _end;
    private HttpResponseMessage? _response;
    private Stream? _body;
    private readonly BodyPlace _place;
    private bool _isWhole; // the body goes on after the range
    private bool _takesWhole; // ranges of this blob are of no use
    private long _at;
    private int _breaks;
    private long _brokeAt;

    private RegistryBlobStream(RegistryClient client, ILogger logger, Descriptor blob, string subject, Uri? elsewhere, long offset, long length)
    {
        _client = client;
        _logger = logger;
        _blob = blob;
        _subject = subject;
        _elsewhere = elsewhere;
        _pace = client.Http.NewPace();
        _place = client.Limits.NewPlace();
        _at = _brokeAt = offset;
        _end = offset + length;
    }

    /// <summary>Opens a range that the caller has checked against the blob's size; at the registry, or at another URL.</summary>
    public static async Task<RegistryBlobStream> OpenAsync(RegistryClient client, ILogger logger, Descriptor blob, string subject, Uri? elsewhere, long offset, long length, CancellationToken cancellationToken)
    {
        Debug.Assert(offset >= 0 && length > 0 && offset <= blob.Size - length);
        var stream = new RegistryBlobStream(client, logger, blob, subject, elsewhere, offset, length);
        try
        {
            await stream.RequestAsync(cancellationToken).ConfigureAwait(false);
            return stream;
        }
        catch
        {
            await stream.DisposeAsync().ConfigureAwait(false); // gives its place back
            throw;
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_at == _end || buffer.IsEmpty)
            return 0;
        if (buffer.Length > _end - _at)
            buffer = buffer[..(int)(_end - _at)];
        while (true)
        {
            RegistryException broken;
            try
            {
                if (_body is null)
                    await RequestAsync(cancellationToken).ConfigureAwait(false);
                int read = await _client.Http.ReadAsync(_body!, buffer, _pace, _response!.RequestMessage, _subject, cancellationToken).ConfigureAwait(false);
                if (read > 0)
                {
                    _at += read;
                    return read;
                }
                broken = RegistryHttp.Cut(_response.RequestMessage, _subject, $"it ended at byte {_at} of {_blob.Size}");
            }
            catch (RegistryException e) when (e.IsTemporary && _body is not null)
            {
                broken = e;
            }
            catch (ObjectDisposedException e) when (_client.IsDisposed)
            {
                throw new OperationCanceledException($"the source of {_subject} was closed", e);
            }
            _client.ForgetLocation(_blob.Digest, _response?.RequestMessage?.RequestUri);
            Abandon();
            if (_at - _brokeAt >= Progress)
                (_breaks, _brokeAt) = (0, _at);
            if (++_breaks > _client.Http.Timeouts.Breaks)
                throw broken;
            _logger.Resuming(_blob.Digest, _at, broken.Message);
            await Task.Delay(Random.Shared.Next(50, 150) * _breaks, cancellationToken).ConfigureAwait(false);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            if (_isWhole && _at == _end && _end < _blob.Size && _body is not null)
            {
                _client.WholeBodies.Leave(new WholeBody(_blob.Digest, _at, _response!, _body));
                (_body, _response) = (null, null);
            }
            Abandon();
        }
        base.Dispose(disposing);
    }

    /// <summary>Bytes that were read already, and the rest of their stream. Owns it.</summary>
    private sealed class PrefixedStream(byte[] prefix, Stream rest) : ForwardStream
    {
        private int _at;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_at == prefix.Length)
                return await rest.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
            int count = Math.Min(buffer.Length, prefix.Length - _at);
            prefix.AsMemory(_at, count).CopyTo(buffer);
            _at += count;
            return count;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                rest.Dispose();
            base.Dispose(disposing);
        }
    }

    private void Abandon()
    {
        _body?.Dispose();
        _response?.Dispose();
        _place.Release();
        (_body, _response) = (null, null);
    }

    private async Task RequestAsync(CancellationToken cancellationToken)
    {
        if (_client.WholeBodies.TryTake(_blob.Digest, _at, _takesWhole || !_client.GivesRanges ? long.MaxValue : MaxSkip) is { } left)
        {
            await _place.TakeAsync(cancellationToken).ConfigureAwait(false);
            if (await TryGoOnAsync(left, cancellationToken).ConfigureAwait(false))
                return;
        }
        bool isPart = _at > 0 || _end < _blob.Size;
        for (int refusals = 0; isPart && !_takesWhole && _client.GivesRanges;)
        {
            try
            {
                await RequestAsync((_at, _end - 1), cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (RegistryException e) when (e.Status is HttpStatusCode.BadRequest or HttpStatusCode.RequestedRangeNotSatisfiable or HttpStatusCode.NotImplemented && (_elsewhere is not null || e.Error == ImageError.Invalid))
            {
                // One that gave ranges before has a bad moment: it is asked once more, and then for this blob alone as a whole. What another
                // host refuses says nothing of the registry.
                if (_elsewhere is not null)
                    _takesWhole = true;
                else if (!_client.HasGivenRanges)
                    _client.DoWithoutRanges(e.Reason);
                else
                    _takesWhole = ++refusals > 1;
            }
            catch (RegistryException e) when (e.Status is HttpStatusCode.PartialContent && !e.IsTemporary)
            {
                // It gives another range, or one of encoded bytes.
                _takesWhole = !_client.HasGivenRanges || ++refusals > 1;
                if (_takesWhole)
                    _logger.RangesRefused(_client.Endpoint.Host, e.Message);
            }
        }
        await RequestAsync(null, cancellationToken).ConfigureAwait(false);
    }

    private async Task RequestAsync((long First, long Last)? range, CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"blobs/{_blob.Digest}", _subject) { Blob = _blob.Digest, Elsewhere = _elsewhere, Range = range, Place = _place };
        (_response, _body) = await _client.SendAsync(request, PositionAsync, cancellationToken).ConfigureAwait(false);
    }

    // Gives the body at the first byte wanted, whether the server keeps to the range (206) or sends everything (200).
    private async Task<(HttpResponseMessage, Stream)> PositionAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        long? length = response.Content.Headers.ContentLength;
        string? coding = ContentCoding.Of(response);
        long skip = 0;
        if (response.StatusCode == HttpStatusCode.PartialContent)
        {
            var range = response.Content.Headers.ContentRange;
            if (range?.Unit != "bytes" || range.From != _at || range.To >= _end || (range.HasLength && range.Length != _blob.Size))
                throw _client.Http.Broken(response, _subject, $"sends the range '{Printable.Of(range?.ToString() ?? "")}' when asked for bytes {_at}-{_end - 1} of {_blob.Size}");
            if (coding is not null && (!range.HasLength || length != range.To - range.From + 1))
                throw _client.Http.Broken(response, _subject, $"sends a range of {coding} bytes");
            coding = null; // so many bytes as the range of the blob has: they are the blob's own
            _client.HasGivenRanges |= _elsewhere is null;
        }
        else
        {
            // A blob that is a compressed file is often called encoded and sent as it is.
            if (coding is not null && (length == _blob.Size || (length is null && !ContentCoding.IsKnown(coding) && _blob.MediaType.Contains(coding, StringComparison.Ordinal))))
                coding = null;
            if (coding is not null && !ContentCoding.IsKnown(coding))
                throw _client.Http.Broken(response, _subject, $"encodes it as '{Printable.Of(coding)}', which was not asked for");
            if (coding is null && length is { } total && total != _blob.Size)
                throw _client.Http.Broken(response, _subject, $"sends {total} bytes, but the manifest says {_blob.Size}");
            skip = _at;
        }

        Stream body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        if (coding == "gzip" && length is null)
        {
            byte[] prefix = await ReadPrefixAsync(response, body, cancellationToken).ConfigureAwait(false);
            (bool isGzip, bool isGzipInside) = ContentCoding.GzipIn(prefix);
            body = new PrefixedStream(prefix, body);
            if (!isGzip || (_blob.MediaType.Contains("gzip", StringComparison.Ordinal) && !isGzipInside))
                coding = null;
        }
        if (coding is not null)
            body = ContentCoding.Decode(body, coding);
        await PassOverAsync(response, body, skip, cancellationToken).ConfigureAwait(false);
        _isWhole = response.StatusCode != HttpStatusCode.PartialContent;
        return (response, body);
    }

    private async Task<byte[]> ReadPrefixAsync(HttpResponseMessage response, Stream body, CancellationToken cancellationToken)
    {
        var prefix = new byte[4096];
        int filled = 0;
        for (int read; filled < prefix.Length && (read = await _client.Http.ReadAsync(body, prefix.AsMemory(filled), _pace, response.RequestMessage, _subject, cancellationToken).ConfigureAwait(false)) > 0;)
            filled += read;
        return prefix[..filled];
    }

    // False: its connection is gone, as servers do to those who are idle.
    private async Task<bool> TryGoOnAsync(WholeBody left, CancellationToken cancellationToken)
    {
        try
        {
            await PassOverAsync(left.Response, left.Body, _at - left.At, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            left.Dispose();
            if (e is not RegistryException)
                throw;
            return false;
        }
        (_response, _body, _isWhole) = (left.Response, left.Body, true);
        return true;
    }

    private async Task PassOverAsync(HttpResponseMessage response, Stream body, long count, CancellationToken cancellationToken)
    {
        byte[] sink = count == 0 ? [] : new byte[Math.Min(count, 64 << 10)];
        while (count > 0)
        {
            int read = await _client.Http.ReadAsync(body, sink.AsMemory(0, (int)Math.Min(count, sink.Length)), _pace, response.RequestMessage, _subject, cancellationToken).ConfigureAwait(false);
            if (read == 0)
                throw RegistryHttp.Cut(response.RequestMessage, _subject, "it ended early");
            count -= read;
        }
    }
}
