using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Connections;
using LazyMount.Blobs.Registry.Hosts;
using LazyMount.Blobs.Sources;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// One repository of a registry as the place where an image comes from, and where artifacts beside it go. Its mirrors are asked first, and
/// passed over when they fail, lack something or give wrong bytes. The registry that the reference names stays the image's identity.
/// </summary>
internal sealed class RegistrySource : IImageSource, IArtifactTarget
{
    private const int MaxUrls = 8; // of a foreign layer
    private const int MaxTagsCompared = 100_000;

    // Before the next place is asked for referrers too: four of these are the patience with questions that an image can do without.
    private static readonly TimeSpan s_headStart = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan s_hintPatience = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<Digest, Uri> _givers = new();
    private readonly ConcurrentDictionary<Uri, long> _failedUrls = new(); // of foreign layers: when they were asked, an Environment.TickCount64
    private readonly ImageReference _reference;
    private readonly CredentialStore _credentials;
    private readonly RegistryPlace[] _places;
    private readonly ILogger _logger;

    /// <exception cref="ImageException">A configuration file cannot be used, or blocks the registry.</exception>
    public RegistrySource(ImageReference reference, RegistryOptions options, RegistryTimeouts timeouts, ILoggerFactory loggers)
    {
        _reference = reference;
        _logger = loggers.CreateLogger<RegistrySource>();
        _credentials = new CredentialStore(options, reference.Location, _logger);
        IReadOnlyList<RegistryEndpoint> endpoints = new RegistryHosts(options).EndpointsOf(reference);
        foreach (RegistryEndpoint endpoint in endpoints.Where(endpoint => !endpoint.Tls.IsVerified))
            options.Note($"connections to {endpoint.Host} are not verified, because {Printable.Of(endpoint.Origin)} says so: any server that answers is trusted");
        _places = [.. endpoints.Select((endpoint, i) => new RegistryPlace(endpoint, hasNext: i < endpoints.Count - 1, _credentials, options, timeouts, reference.Place, _logger))];
    }

    public bool IsLocal => false;

    public bool IsVerified => Array.TrueForAll(_places, place => place.Client.Http.IsVerified);

    /// <summary>The registry itself.</summary>
    private RegistryPlace Upstream => _places[^1];

    public bool Distrust(Descriptor blob)
    {
        // Which of those that gave bytes of it gave the wrong ones is not known here.
        bool isNew = false;
        foreach (RegistryPlace place in _places)
            isNew |= place.Distrust(blob.Digest);
        return isNew && _places.Length > 1;
    }

    public Digest? DiffIdOf(Digest blob) => null;

    public async Task<RawManifest> GetRootAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await GetManifestAsync(_reference.Digest?.ToString() ?? _reference.Tag!, _reference.Digest, null, $"'{_reference}'", cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error == ImageError.NotFound && _reference.Digest is null)
        {
            if (await SuggestAsync(_reference.Tag!, cancellationToken).ConfigureAwait(false) is not { } suggestion)
                throw;
            throw new RegistryException(e.Error, $"{e.Message}; {suggestion}", e) { Method = e.Method, Url = e.Url, Status = e.Status, Reason = e.Reason };
        }
    }

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
        => GetManifestAsync(descriptor.Digest.ToString(), descriptor.Digest, descriptor.Size == Descriptor.UnknownSize ? null : descriptor.Size, $"manifest {descriptor.Digest} of '{_reference}'", cancellationToken);

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, blob.Size - offset);
        if (length == 0)
            return Stream.Null;
        if (blob.OpenData(offset, length) is { } data)
            return data;
        if (blob.Urls is not { Count: > 0 } urls)
            return await OpenAsync(blob, offset, length, cancellationToken).ConfigureAwait(false);

        // A foreign layer: the registry need not have it. Whoever had it is asked first for the next range.
        if (_givers.TryGetValue(blob.Digest, out Uri? giver))
        {
            try
            {
                return await OpenAsync(Upstream, blob, giver, offset, length, cancellationToken).ConfigureAwait(false);
            }
            catch (RegistryException)
            {
                _givers.TryRemove(blob.Digest, out _);
            }
        }
        try
        {
            return await OpenAsync(blob, offset, length, cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error is ImageError.NotFound or ImageError.Denied)
        {
            return await OpenElsewhereAsync(blob, urls, offset, length, cancellationToken).ConfigureAwait(false);
        }
    }

    public async Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
    {
        // A mirror need not know what refers to the images that it has, and some hang when they are asked: the next place does not wait for it
        // long. A failure says nothing of its blobs.
        RegistryPlace[] asked = [.. _places.Where(place => place.Endpoint.CanPull && (place == Upstream || place.Serves(null)))];
        if (asked.Length == 0)
            asked = [Upstream];
        IReadOnlyList<Task<IReadOnlyList<Descriptor>>> ended = await StaggeredRace.RunAsync(
            asked.Select(place => (Func<CancellationToken, Task<IReadOnlyList<Descriptor>>>)(token => place.Referrers.FindAsync(subject, artifactTypes, token))),
            s_headStart,
            static found => found.Count > 0,
            static _ => { },
            cancellationToken).ConfigureAwait(false);
        // Nobody knows of any: what an answer says counts before failures.
        return await (ended.LastOrDefault(each => each.IsCompletedSuccessfully) ?? ended[^1]).ConfigureAwait(false);
    }

    /// <summary>
    /// The repository's tags, in the registry's order, page by page as they are taken. A mirror may list only the tags that it was asked for
    /// before, so the registry itself is asked first, and mirrors only when it fails.
    /// </summary>
    /// <param name="note">Told when a mirror lists the tags.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async IAsyncEnumerable<string> ListTagsAsync(Action<string> note, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        List<(RegistryPlace Place, ImageException Failure)> failures = [];
        RegistryPlace[] asked = [.. _places.Where(place => place.Endpoint.CanResolve && place.Serves(null)).OrderBy(place => place != Upstream)];
        foreach (RegistryPlace place in asked.Length == 0 ? [Upstream] : asked)
        {
            IAsyncEnumerator<string> tags = place.Tags.ListAsync(cancellationToken).GetAsyncEnumerator(cancellationToken);
            await using (tags.ConfigureAwait(false))
            {
                bool hasTag;
                try
                {
                    hasTag = await tags.MoveNextAsync().ConfigureAwait(false);
                }
                catch (ImageException e)
                {
                    failures.Add((place, e));
                    continue;
                }
                if (failures.Count > 0)
                    note($"these tags come from the mirror {place.Endpoint.Host} and may be incomplete: {failures[0].Failure.Message}");
                for (; hasTag; hasTag = await tags.MoveNextAsync().ConfigureAwait(false))
                    yield return tags.Current;
                yield break;
            }
        }
        throw Combine([.. failures.Skip(1), failures[0]], "also asked");
    }

    public Task<bool> PushBlobAsync(Descriptor blob, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        => Target.Upload.PushBlobAsync(blob, bytes, cancellationToken);

    public async Task PushReferrerAsync(RawManifest manifest, Digest subject, CancellationToken cancellationToken)
    {
        Descriptor descriptor = manifest.Descriptor;
        bool isListed = await Target.Upload.PutManifestAsync(
            descriptor.Digest.ToString(), descriptor.MediaType, manifest.Bytes, $"manifest {descriptor.Digest} to '{_reference.Place}'", cancellationToken).ConfigureAwait(false);
        if (!isListed)
            await Target.Referrers.AddTaggedAsync(descriptor, subject, Target.Upload, cancellationToken).ConfigureAwait(false);
    }

    public async Task PushManifestAsync(RawManifest manifest, string? tag, CancellationToken cancellationToken)
    {
        Descriptor descriptor = manifest.Descriptor;
        await Target.Upload.PutManifestAsync(
            tag ?? descriptor.Digest.ToString(), descriptor.MediaType, manifest.Bytes, $"manifest {descriptor.Digest} to '{_reference.Place}{(tag is null ? "" : $":{tag}")}'", cancellationToken).ConfigureAwait(false);
    }

    public async Task<RawManifest?> TryGetTaggedAsync(string tag, CancellationToken cancellationToken)
    {
        try
        {
            return await GetManifestAsync(Target, tag, null, null, $"'{_reference.Place}:{tag}'", cancellationToken).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error == ImageError.NotFound)
        {
            return null;
        }
    }

    public ValueTask DisposeAsync()
    {
        foreach (RegistryPlace place in _places)
            place.Dispose();
        _credentials.Dispose();
        return ValueTask.CompletedTask;
    }

    // A hint is not worth waiting for: only the tags that come in time are compared. A list that fails gives no error of its own.
    private async Task<string?> SuggestAsync(string tag, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_hintPatience);
        var tags = new List<string>();
        try
        {
            await foreach (string each in ListTagsAsync(static _ => { }, patience.Token).Take(MaxTagsCompared).ConfigureAwait(false))
                tags.Add(each);
        }
        catch (Exception e) when (e is ImageException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // Those that came are compared.
        }
        return NearestTags.Suggest(tag, tags);
    }

    // What is pushed goes to the registry itself, or to the server that stands in its place, and is looked at there.
    private RegistryPlace Target => Array.Find(_places, place => place.Endpoint.CanPush && !place.Endpoint.IsMirror)
        ?? (Upstream.Endpoint.CanPush ? Upstream : null)
        ?? throw new ImageException(ImageError.Denied, $"cannot push to {_reference.Location}: '{Printable.Of(Upstream.Endpoint.Origin)}' does not give it the capability \"push\"; add it there");

    // Asks the places in order until one gives what is wanted. Those that lacked the blob, or gave it wrongly, come after the others, for they
    // may have mended, and the caller verifies. So do those that rest, when the others cannot be reached.
    private async Task<T> AskAsync<T>(Func<RegistryPlace, bool> may, Digest? blob, Func<RegistryPlace, Task<T>> ask)
    {
        List<(RegistryPlace Place, ImageException Failure)> failures = [];
        RegistryPlace[] able = [.. _places.Where(may)];
        if (able.Length == 0)
            able = [Upstream];
        foreach (RegistryPlace place in able.OrderBy(place => place.Serves(blob) ? 0 : place.IsResting ? 2 : 1).ToArray())
        {
            if (failures.Count > 0 && place.IsResting && failures[^1].Failure.Error is not (ImageError.Unreachable or ImageError.Local))
                continue;
            long began = Stopwatch.GetTimestamp();
            try
            {
                T result = await ask(place).ConfigureAwait(false);
                place.NoteSuccess(blob);
                return result;
            }
            catch (ImageException e)
            {
                failures.Add((place, e));
                PassOver(place, e, blob);
            }
            catch (OperationCanceledException)
            {
                place.NoteCancellation(Stopwatch.GetElapsedTime(began));
                throw;
            }
        }
        // The registry itself knows best why.
        throw Combine([.. failures.OrderBy(each => Array.IndexOf(_places, each.Place))]);
    }

    private void PassOver(RegistryPlace place, ImageException failure, Digest? blob)
    {
        place.Note(failure, blob);
        if (place != Upstream)
            _logger.MirrorPassedOver(place.Endpoint.Host, failure.Message);
    }

    // The last one's failure, with what the others gave.
    private static ImageException Combine(List<(RegistryPlace Place, ImageException Failure)> failures, string others = "asked before")
    {
        ImageException last = failures[^1].Failure;
        if (failures.Count == 1)
            return last;
        string mirrors = string.Join("; ", failures.SkipLast(1).Select(each => $"{each.Place.Endpoint.Host} ({Printable.Of(each.Place.Endpoint.Origin)}): {each.Failure.Message}"));
        string sentence = $"{last.Message}; {others}: {mirrors}";
        return last is RegistryException e
            ? new RegistryException(e.Error, sentence, e) { Method = e.Method, Url = e.Url, Status = e.Status, Reason = e.Reason, IsTemporary = e.IsTemporary }
            : new ImageException(last.Error, sentence, last);
    }

    private async Task<Stream> OpenAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        (Stream stream, RegistryPlace place) = await AskAsync(
            place => place.Endpoint.CanPull,
            blob.Digest,
            async place => (await OpenAsync(place, blob, null, offset, length, cancellationToken).ConfigureAwait(false), place)).ConfigureAwait(false);
        return _places.Length > 1 ? new MirroredStream(this, stream, place, blob, offset, length) : stream;
    }

    private async Task<Stream> OpenElsewhereAsync(Descriptor blob, IReadOnlyList<string> urls, long offset, long length, CancellationToken cancellationToken)
    {
        Exception? last = null;
        // One that has just failed is asked after the others: a reader would else never come to those behind it.
        foreach (Uri url in urls.Take(MaxUrls).Select(RawUrl.TryParse).OfType<Uri>().OrderBy(url => _failedUrls.GetValueOrDefault(url, long.MinValue)))
        {
            try
            {
                _failedUrls[url] = Environment.TickCount64;
                Stream stream = await OpenAsync(Upstream, blob, url, offset, length, cancellationToken).ConfigureAwait(false);
                _failedUrls.TryRemove(url, out _);
                if (_givers.TryAdd(blob.Digest, url))
                    _logger.FetchedElsewhere(blob.Digest, url.Host);
                return stream;
            }
            catch (RegistryException e)
            {
                last = e;
            }
        }
        throw new ImageException(
            last is RegistryException { Error: ImageError.Unreachable } ? ImageError.Unreachable : ImageError.NotFound,
            $"cannot get blob {blob.Digest} of '{_reference}': {_reference.Location} does not have this foreign layer, and none of the {urls.Count} URLs in the manifest serves it; ask the publisher of the image{(last is null ? "" : $" ({last.Message})")}",
            last);
    }

    private async Task<Stream> OpenAsync(RegistryPlace place, Descriptor blob, Uri? elsewhere, long offset, long length, CancellationToken cancellationToken)
        => await RegistryBlobStream.OpenAsync(place.Client, _logger, blob, $"blob {blob.Digest} of '{_reference}'", elsewhere, offset, length, cancellationToken).ConfigureAwait(false);

    private Task<RawManifest> GetManifestAsync(string reference, Digest? digest, long? size, string subject, CancellationToken cancellationToken)
        => AskAsync(
            place => digest is null ? place.Endpoint.CanResolve : place.Endpoint.CanPull,
            digest,
            place => GetManifestAsync(place, reference, digest, size, subject, cancellationToken));

    private Task<RawManifest> GetManifestAsync(RegistryPlace place, string reference, Digest? digest, long? size, string subject, CancellationToken cancellationToken)
    {
        var request = new RegistryRequest($"manifests/{reference}", subject) { Accept = MediaTypes.Manifests };
        RegistryHttp http = place.Client.Http;
        return place.Client.SendAsync(
            request,
            async (response, token) =>
            {
                using HttpResponseMessage owned = response;
                byte[] bytes = await http.ReadDocumentAsync(response, ManifestDocument.MaxSize, subject, "a manifest", token).ConfigureAwait(false);
                if (digest is { } expected && (!expected.Verifies(bytes) || (size is not null && size != bytes.Length)))
                {
                    throw new ImageException(ImageError.Verification, $"cannot use {subject}: the bytes from {http.Registry} do not match its digest and size; the registry or a proxy in front of it is at fault");
                }
                string mediaType = response.Content.Headers.ContentType?.MediaType ?? "";
                if (_places.Length > 1)
                    ManifestDocument.Parse(bytes, mediaType, subject); // one that gives something else is passed over
                return new RawManifest(new Descriptor(mediaType, digest ?? Digest.OfSha256(bytes), bytes.Length), bytes);
            },
            cancellationToken);
    }

    /// <summary>A range of a blob from one of several places; when that fails on the way, the rest comes from another. Each gets one chance.</summary>
    private sealed class MirroredStream(RegistrySource source, Stream stream, RegistryPlace place, Descriptor blob, long begin, long length) : ForwardStream
    {
        private Stream _stream = stream;
        private RegistryPlace _place = place;
        private readonly List<RegistryPlace> _failed = [];
        private readonly long _end = begin + length;
        private long _at = begin;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (true)
            {
                long began = Stopwatch.GetTimestamp();
                try
                {
                    int read = await _stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
                    _at += read;
                    return read;
                }
                catch (OperationCanceledException)
                {
                    _place.NoteCancellation(Stopwatch.GetElapsedTime(began));
                    throw;
                }
                catch (ImageException e) when (Array.Exists(source._places, next => MayAsk(next) && next != _place))
                {
                    _failed.Add(_place);
                    source.PassOver(_place, e, blob.Digest);
                    await _stream.DisposeAsync().ConfigureAwait(false);
                    (_stream, _place) = await source.AskAsync(
                        MayAsk,
                        blob.Digest,
                        async next => (await source.OpenAsync(next, blob, null, _at, _end - _at, cancellationToken).ConfigureAwait(false), next)).ConfigureAwait(false);
                }
            }
        }

        private bool MayAsk(RegistryPlace place) => place.Endpoint.CanPull && !_failed.Contains(place);

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                _stream.Dispose();
            base.Dispose(disposing);
        }
    }
}
