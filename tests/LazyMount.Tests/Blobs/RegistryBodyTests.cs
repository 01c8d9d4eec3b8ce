using System.IO.Compression;
using System.Net;
using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Hosts;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Bodies that are not as they were asked for: encoded, of another kind, not in ranges, somewhere else.</summary>
public sealed class RegistryBodyTests
{
    private static readonly TestImage s_image = TestImage.Create(seed: 61);
    private static readonly byte[] s_content = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, 40_000).Select(i => $"{i};")));
    private static readonly Descriptor s_blob = TestImage.DescriptorOf(s_content);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static RegistrySource Open(ScriptedServer server, RegistryTimeouts? timeouts = null) => new(
        ImageReference.Parse($"{server.Host}/app:v1"), TestRegistries.Options with { PlainHttp = true }, timeouts ?? RegistrySourceTests.Impatient, NullLoggerFactory.Instance);

    private static async Task<byte[]> ReadAsync(RegistrySource source, int offset, int length, Descriptor? blob = null)
    {
        await using Stream stream = await source.OpenBlobAsync(blob ?? s_blob, offset, length, Token);
        using var read = new MemoryStream();
        await stream.CopyToAsync(read, Token);
        return read.ToArray();
    }

    private static byte[] Encode(byte[] bytes, string coding)
    {
        using var stream = new MemoryStream();
        using (Stream encoder = coding == "deflate" ? new ZLibStream(stream, CompressionLevel.Fastest) : new GZipStream(stream, CompressionLevel.Fastest))
            encoder.Write(bytes);
        return stream.ToArray();
    }

    private static ScriptedResponse Manifest() => new(200, s_image.Manifest, $"Content-Type: {s_image.MediaType}");

    [Theory]
    [InlineData("gzip")]
    [InlineData("x-gzip")]
    [InlineData("deflate")]
    [InlineData("GZIP")]
    public async Task EncodedManifest_IsDecoded(string coding)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, Encode(s_image.Manifest, coding), $"Content-Type: {s_image.MediaType}", $"Content-Encoding: {coding}"));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_image.Digest, (await source.GetRootAsync(Token)).Descriptor.Digest);
    }

    [Fact]
    public async Task ManifestThatIsCalledEncodedAndIsNot_IsRead()
    {
        await using var server = new ScriptedServer(_ => Manifest() with { Headers = ["Content-Encoding: gzip"] });
        await using RegistrySource source = Open(server);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
    }

    [Fact]
    public async Task ManifestThatDecodesToTooMuch_IsRefused()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, Encode(new byte[64 << 20], "gzip"), "Content-Encoding: gzip"));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Contains("more than 4 MiB", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EncodedErrorAndToken_AreDecoded()
    {
        await using var tokens = new ScriptedServer(_ => new ScriptedResponse(200, Encode("""{"token":"T"}"""u8.ToArray(), "gzip"), "Content-Encoding: gzip"));
        await using var server = new ScriptedServer(request => request.Authorization == "Bearer T"
            ? new ScriptedResponse(404, Encode("""{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"""u8.ToArray(), "gzip"), "Content-Encoding: gzip")
            : new ScriptedResponse(401, "", $"WWW-Authenticate: Bearer realm=\"http://{tokens.Host}/\""));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Contains("(MANIFEST_UNKNOWN)", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task EncodedBlob_IsDecoded_WholeAndInPart(string coding)
    {
        byte[] encoded = Encode(s_content, coding);
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(encoded, request) is var answer && request.Range is { } range && range.Last >= encoded.Length
            ? new ScriptedResponse(200, encoded, $"Content-Encoding: {coding}") : answer with { Headers = [.. answer.Headers, $"Content-Encoding: {coding}"] });
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content, await ReadAsync(source, 0, s_content.Length));
        Assert.Equal(s_content[100..200], await ReadAsync(source, 100, 100)); // the range comes, of encoded bytes
        Assert.Equal(s_content[^100..], await ReadAsync(source, s_content.Length - 100, 100)); // the range is ignored
    }

    [Fact]
    public async Task BlobThatIsAGzipFileAndIsCalledEncoded_IsTakenAsItIs()
    {
        byte[] file = Encode(s_content, "gzip");
        Descriptor blob = TestImage.DescriptorOf(file);
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(file, request) is var answer ? answer with { Headers = [.. answer.Headers, "Content-Encoding: gzip"] } : answer);
        await using RegistrySource source = Open(server);
        Assert.Equal(file, await ReadAsync(source, 0, file.Length, blob));
        Assert.Equal(file[10..50], await ReadAsync(source, 10, 40, blob));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task GzipFileOfUnknownLength_IsTakenAsItIs_OrDecodedOnce(bool encodedOnItsWay)
    {
        byte[] file = Encode(s_content, "gzip");
        Descriptor blob = TestImage.DescriptorOf(file) with { MediaType = "application/vnd.oci.image.layer.v1.tar+gzip" };
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, encodedOnItsWay ? Encode(file, "gzip") : file, "Content-Encoding: gzip") { HasNoLength = true });
        await using RegistrySource source = Open(server);
        Assert.Equal(file, await ReadAsync(source, 0, file.Length, blob));
        Assert.Equal(file[10..50], await ReadAsync(source, 10, 40, blob));
    }

    [Theory]
    [InlineData("br")]
    [InlineData("gzip, br")]
    [InlineData("gzip, gzip")]
    [InlineData("zstd")]
    public async Task CodingThatIsNotKnown_IsNamed_AndNeverTakenForTheBytes(string coding)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content[..5000], $"Content-Encoding: {coding}") { HasNoLength = true });
        await using RegistrySource source = Open(server);
        Assert.Contains($"encodes it as '{coding}', which was not asked for", (await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, 100))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ZstdFileThatIsCalledEncoded_IsTakenAsItIs()
    {
        Descriptor blob = s_blob with { MediaType = "application/vnd.oci.image.layer.v1.tar+zstd" };
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_content, "Content-Encoding: zstd") { HasNoLength = true });
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[..100], await ReadAsync(source, 0, 100, blob));
    }

    [Fact]
    public async Task RedirectTargetWhoseBodyIsBroken_IsNotRemembered()
    {
        await using var bad = new ScriptedServer(_ => new ScriptedResponse(200, "<html>sorry</html>"));
        await using var good = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        string target = bad.Host;
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{target}/x"));
        await using RegistrySource source = Open(server);
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, 10));
        target = good.Host;
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
        good.Answer = _ => Task.FromResult(new ScriptedResponse(200, "<html>sorry</html>"));
        await using var better = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        target = better.Host;
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10)); // and forgotten when it spoils later
        better.Answer = request => Task.FromResult(ScriptedResponse.Of(s_content, request) with { CutAfter = 0 });
        await using var last = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        target = last.Host;
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
    }

    [Fact]
    public async Task ForeignLayerAtTheRegistrysOwnAddress_GetsNoCredentials_AndSaysNothingOfItsRanges()
    {
        await using var server = new ScriptedServer(request => request.Path.StartsWith("/v2/", StringComparison.Ordinal)
            ? request.Authorization is null ? new ScriptedResponse(401, "", "WWW-Authenticate: Basic realm=x") : request.Path.EndsWith(s_blob.Digest.ToString(), StringComparison.Ordinal) ? ScriptedResponse.Of(s_content, request) : new ScriptedResponse(404)
            : request.Range is null ? new ScriptedResponse(200, s_content[..1000]) : new ScriptedResponse(416));
        Descriptor foreign = TestImage.DescriptorOf(s_content[..1000]) with { Urls = [$"http://{server.Host}/elsewhere"] };
        await using var source = new RegistrySource(
            ImageReference.Parse($"{server.Host}/app:v1"), TestRegistries.Options with { PlainHttp = true, Credentials = new("me", "pw") }, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10, foreign));
        Assert.All(server.Requests.Where(request => request.Path == "/elsewhere"), request => Assert.Null(request.Authorization));
        await ReadAsync(source, 100, 10);
        Assert.NotNull(server.Requests.Last().Range);
    }

    [Fact]
    public async Task RetryAfterOfOneThing_DoesNotSilenceTheRegistry()
    {
        await using var server = new ScriptedServer(request => request.Path.Contains("/blobs/", StringComparison.Ordinal) ? ScriptedResponse.Of(s_content, request) : new ScriptedResponse(429, "", "Retry-After: 50"));
        await using RegistrySource source = Open(server);
        using var end = new CancellationTokenSource();
        Task waiting = source.GetReferrersAsync(s_blob.Digest, ["a/b"], end.Token);
        while (server.Requests.IsEmpty)
            await Task.Delay(10, Token);
        long began = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 20);
        await end.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Fact]
    public async Task RequestsThatWaitToTryAgain_LeaveTheirPlacesToOthers()
    {
        byte[] other = TestImage.RandomBytes(100, 7);
        Descriptor healthy = TestImage.DescriptorOf(other);
        await using var server = new ScriptedServer(request => request.Path.EndsWith(healthy.Digest.ToString(), StringComparison.Ordinal) ? ScriptedResponse.Of(other, request) : new ScriptedResponse(429, "", "Retry-After: 50"));
        await using RegistrySource source = Open(server, RegistrySourceTests.Impatient with { MaxRetryAfter = TimeSpan.FromSeconds(60) });
        using var end = new CancellationTokenSource();
        Task[] waiting = [.. Enumerable.Range(0, 40).Select(i => source.OpenBlobAsync(TestImage.DescriptorOf([(byte)i]), 0, 1, end.Token))];
        while (server.Requests.Count < 32)
            await Task.Delay(10, Token);
        Assert.Equal(other, await ReadAsync(source, 0, 100, healthy).WaitAsync(TimeSpan.FromSeconds(30), Token));
        await end.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.WhenAll(waiting));
    }

    [Fact]
    public async Task RetryAfterAgainAndAgain_IsNotWaitedForWithoutEnd()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(429, "", "Retry-After: 1"));
        await using RegistrySource source = Open(server, RegistrySourceTests.Impatient with { MaxRetryAfter = TimeSpan.FromSeconds(2.5) });
        await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Equal(3, server.Requests.Count);
    }

    [Theory]
    [InlineData(404)]
    [InlineData(403)]
    public async Task CdnThatRefusesAFreshUrl_IsGivenUpSoon(int status)
    {
        await using var cdn = new ScriptedServer(_ => new ScriptedResponse(status));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/x"));
        await using RegistrySource source = Open(server);
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, 10));
        Assert.Equal(2, cdn.Requests.Count);
    }

    [Theory]
    [InlineData(400)]
    [InlineData(416)]
    public async Task CdnThatRefusesRanges_IsReadWithoutThem(int status)
    {
        await using var cdn = new ScriptedServer(request => request.Range is null ? new ScriptedResponse(200, s_content) : new ScriptedResponse(status));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/x"));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[5..10], await ReadAsync(source, 5, 5));
        Assert.InRange(cdn.Requests.Count, 2, 3);
    }

    [Fact]
    public async Task BodyThatIsThereButFarAway_IsNotPassedOver_WhereRangesAreGiven()
    {
        byte[] content = TestImage.RandomBytes(8 << 20, 9);
        Descriptor blob = TestImage.DescriptorOf(content);
        int answers = 0;
        await using var server = new ScriptedServer(request => answers++ == 0 ? new ScriptedResponse(200, content) : ScriptedResponse.Of(content, request));
        await using RegistrySource source = Open(server);
        Assert.Equal(content[..10], await ReadAsync(source, 0, 10, blob));
        Assert.Equal(content[^10..], await ReadAsync(source, content.Length - 10, 10, blob));
        Assert.Equal(content.Length - 10, server.Requests.Last().Range!.Value.First);
    }

    [Fact]
    public async Task SourceThatIsClosed_EndsWhatIsUnderWay_AsCancelled()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(s_content, request) with { CutAfter = 10, Stall = true });
        RegistrySource source = Open(server);
        await using Stream stream = await source.OpenBlobAsync(s_blob, 0, 1000, Token);
        await stream.ReadExactlyAsync(new byte[10], Token);
        Task reading = stream.ReadExactlyAsync(new byte[990], Token).AsTask();
        await Task.Delay(50, Token);
        await source.DisposeAsync();
        Exception e = await Assert.ThrowsAnyAsync<Exception>(() => reading);
        Assert.True(e is OperationCanceledException or ImageException, e.ToString());
        e = await Assert.ThrowsAnyAsync<Exception>(() => source.OpenBlobAsync(s_blob, 0, 10, Token));
        Assert.True(e is OperationCanceledException or ImageException, e.ToString());
    }

    [Theory]
    [InlineData("Fri, 31 Dec 9999 23:59:59 GMT")]
    [InlineData("99999999999999")]
    [InlineData("2147483647")]
    public async Task RetryAfterOfTheEndOfTime_IsTold(string value)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(503, "", $"Retry-After: {value}"));
        await using RegistrySource source = Open(server);
        Assert.Contains("failed (503", (await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<html><body>Log in to the network</body></html>")]
    [InlineData("\r\n  <!DOCTYPE html>")]
    [InlineData("\uFEFF<html>")]
    public async Task WebPage_IsCalledAWebPage_WithItsUrl(string page)
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, page, "Content-Type: text/html"));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token));
        Assert.Equal($"cannot get '{server.Host}/app:v1': 'http://{server.Host}/v2/app/manifests/v1' is a web page, not a manifest; check the host's name, and whether a proxy or a login page of the network answers instead", e.Message);
    }

    [Fact]
    public async Task EmptyManifest_IsCalledEmpty()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200));
        await using RegistrySource source = Open(server);
        Assert.Contains("sends an empty answer instead of a manifest", (await Assert.ThrowsAsync<RegistryException>(() => source.GetRootAsync(Token))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ManifestOfAnotherContentType_IsTakenByItsDigest()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(200, s_image.Manifest, "Content-Type: text/html"));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_image.Manifest, (await source.GetManifestAsync(TestImage.DescriptorOf(s_image.Manifest), Token)).Bytes);
    }

    [Theory]
    [InlineData(400)]
    [InlineData(416)]
    [InlineData(501)]
    public async Task HostThatRefusesRanges_IsReadWithoutThem_AndNotAskedForThemAgain(int status)
    {
        await using var server = new ScriptedServer(request => request.Range is null ? new ScriptedResponse(200, s_content) : new ScriptedResponse(status));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[100..200], await ReadAsync(source, 100, 100));
        Assert.Equal(s_content[50..60], await ReadAsync(source, 50, 10));
        Assert.Single(server.Requests, request => request.Range is not null);
    }

    [Theory]
    [InlineData(400)]
    [InlineData(416)]
    [InlineData(501)]
    public async Task HostThatRefusesARangeOnce_GivesRangesAfterwards(int status)
    {
        int refusals = 0;
        await using var server = new ScriptedServer(request => request.Range is not null && refusals-- > 0 ? new ScriptedResponse(status) : ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[100..200], await ReadAsync(source, 100, 100));
        refusals = 1;
        Assert.Equal(s_content[300..400], await ReadAsync(source, 300, 100));
        Assert.DoesNotContain(server.Requests, request => request.Range is null && request.Path.Contains("/blobs/", StringComparison.Ordinal));
        refusals = 2;
        Assert.Equal(s_content[500..600], await ReadAsync(source, 500, 100)); // from the whole blob
        Assert.Equal(s_content[200..300], await ReadAsync(source, 200, 100)); // before the place that the whole blob was read up to
        Assert.Equal(2, server.Requests.Count(request => request.Range is (200, _) or (100, _)));
    }

    [Fact]
    public async Task RangeThatIsEncodedOnItsWay_IsNeverTakenForTheBytes()
    {
        await using var server = new ScriptedServer(request => request.Range is { } range
            ? new ScriptedResponse(206, Encode(s_content[range.First..(range.Last + 1)], "gzip"), "Content-Encoding: gzip", $"Content-Range: bytes {range.First}-{range.Last}/{s_content.Length}")
            : new ScriptedResponse(200, s_content));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[100..200], await ReadAsync(source, 100, 100));
    }

    [Theory]
    [InlineData("Content-Type: multipart/byteranges; boundary=x")]
    [InlineData("Content-Range: bytes 0-99/100")]
    [InlineData("Content-Range: bytes */181110")]
    [InlineData("X-Nothing: 1")]
    public async Task RangeOfAnotherForm_IsReadAsAWhole_AndNeverTakenForTheBytes(string header)
    {
        await using var server = new ScriptedServer(request => request.Range is null ? new ScriptedResponse(200, s_content) : new ScriptedResponse(206, s_content[..100], header));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content[100..200], await ReadAsync(source, 100, 100));
    }

    [Fact]
    public async Task RangeThatWasNotAskedFor_IsGoneOnFrom()
    {
        await using var server = new ScriptedServer(request => request.Range is null
            ? new ScriptedResponse(206, s_content[..1000], $"Content-Range: bytes 0-999/{s_content.Length}") : ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server);
        Assert.Equal(s_content, await ReadAsync(source, 0, s_content.Length));
    }

    [Fact]
    public async Task BlobThatTheRegistryHasLost_IsCalledLost()
    {
        await using var server = new ScriptedServer(_ => new ScriptedResponse(404, """{"errors":[{"code":"BLOB_UNKNOWN"}]}"""));
        await using RegistrySource source = Open(server);
        var e = await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 0, 10));
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.Equal($"cannot get blob {s_blob.Digest} of '{server.Host}/app:v1': {server.Host} does not have it (BLOB_UNKNOWN), but the image's manifest names it; push the image again", e.Message);
    }

    [Fact]
    public async Task ManyFailedReads_TakeNoPlaceFromThoseThatFollow()
    {
        bool fails = true;
        await using var server = new ScriptedServer(request => fails ? new ScriptedResponse(404) : ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server);
        for (int i = 0; i < 50; i++)
            await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, 100, 100));
        fails = false;
        Assert.Equal(s_content[100..200], await ReadAsync(source, 100, 100).WaitAsync(TimeSpan.FromSeconds(30), Token));
    }

    [Fact]
    public async Task SignedUrl_IsUsedUntilItExpires()
    {
        int signed = 0, lifetime = 3600;
        await using var cdn = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "",
            $"Location: http://{cdn.Host}/x?n={++signed}&X-Amz-Date={DateTime.UtcNow:yyyyMMddTHHmmssZ}&X-Amz-Expires={lifetime}"));
        await using RegistrySource source = Open(server);
        await ReadAsync(source, 0, 10);
        await ReadAsync(source, 10, 10);
        Assert.Equal(1, signed);

        lifetime = 5; // within the margin: it would expire on its way
        await using RegistrySource other = Open(server);
        await ReadAsync(other, 0, 10);
        await ReadAsync(other, 10, 10);
        Assert.Equal(3, signed);
    }

    [Theory]
    [InlineData("X-Amz-Date=99991231T235959Z&X-Amz-Expires=2147483647")]
    [InlineData("X-Amz-Date=00010101T000000Z&X-Amz-Expires=1")]
    [InlineData("se=0001-01-01T00:00:00Z")]
    [InlineData("Expires=253402300798")]
    public async Task SignedUrlOfTheEndsOfTime_IsUsed(string query)
    {
        await using var cdn = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/x?{query}"));
        await using RegistrySource source = Open(server);
        for (int i = 0; i < 2; i++)
            Assert.Equal(s_content[..10], await ReadAsync(source, 0, 10));
    }

    [Theory]
    [InlineData("X-Amz-Date=20260102T030405Z&X-Amz-Expires=60", "2026-01-02T03:05:05Z")]
    [InlineData("X-Goog-Date=20260102T030405Z&X-Goog-Expires=60", "2026-01-02T03:05:05Z")]
    [InlineData("x-amz-date=20260102T030405Z&x-amz-expires=60", "2026-01-02T03:05:05Z")]
    [InlineData("Expires=1767323105&Signature=x", "2026-01-02T03:05:05Z")]
    [InlineData("se=2026-01-02T03%3A05%3A05Z&sig=x", "2026-01-02T03:05:05Z")]
    [InlineData("Expires=never", null)]
    [InlineData("X-Amz-Date=x&X-Amz-Expires=60", null)]
    [InlineData("Expires=99999999999999999", null)]
    [InlineData("", null)]
    public void ExpiryOfASignedUrl_IsRead(string query, string? expected)
        => Assert.Equal(expected is null ? null : DateTimeOffset.Parse(expected, System.Globalization.CultureInfo.InvariantCulture), BlobLocations.ExpiryOf(new Uri($"https://h/x?{query}")));

    [Fact]
    public async Task HeadersAndNamespaceOfAnEndpoint_GoToItAlone()
    {
        await using var cdn = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        await using var server = new ScriptedServer(_ => new ScriptedResponse(307, "", $"Location: http://{cdn.Host}/x"));
        var endpoint = new RegistryEndpoint { Host = server.Host, Repository = "app", Root = new Uri($"http://{server.Host}/v2/"), Namespace = "docker.io", Headers = [KeyValuePair.Create("X-Team", "blue")] };
        using var client = new RegistryClient(endpoint, new LazyMount.Blobs.Registry.Accounts.CredentialStore(TestRegistries.Options, "", NullLogger.Instance), TestRegistries.Options, RegistrySourceTests.Impatient, NullLogger.Instance);
        await using Stream stream = await RegistryBlobStream.OpenAsync(client, NullLogger.Instance, s_blob, "x", null, 0, 10, Token);
        Assert.Equal(("ns=docker.io", "blue"), (server.Requests.Single().Query, server.Requests.Single().Headers["X-Team"]));
        Assert.False(cdn.Requests.Single().Headers.ContainsKey("X-Team"));
    }

    [Fact]
    public async Task RetryAfter_IsWaitedForByEverybody()
    {
        int answers = 0;
        var times = new List<DateTime>();
        await using var server = new ScriptedServer(request =>
        {
            lock (times)
                times.Add(DateTime.UtcNow);
            return Interlocked.Increment(ref answers) == 1 ? new ScriptedResponse(429, "", "Retry-After: 1") : ScriptedResponse.Of(s_content, request);
        });
        await using RegistrySource source = Open(server);
        Task first = ReadAsync(source, 0, 10);
        while (answers == 0)
            await Task.Delay(10, Token);
        await Task.Delay(100, Token);
        await Task.WhenAll([first, .. Enumerable.Range(0, 4).Select(i => ReadAsync(source, i, 10))]);
        Assert.All(times.Skip(1), time => Assert.InRange((time - times[0]).TotalSeconds, 0.9, 30));
    }

    [Fact]
    public async Task ServerThatStartsAgain_IsWaitedForOnceItHasServed()
    {
        var server = new ScriptedServer(request => ScriptedResponse.Of(s_content, request));
        await using RegistrySource source = Open(server, new RegistryTimeouts());
        await ReadAsync(source, 0, 10);
        string host = server.Host;
        await server.DisposeAsync();
        Task<byte[]> reading = ReadAsync(source, 10, 10);
        await Task.Delay(2500, Token);
        Assert.False(reading.IsCompleted);
        await using var again = new ScriptedServer(request => ScriptedResponse.Of(s_content, request), int.Parse(host.Split(':')[1], System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(s_content[10..20], await reading);
    }

    [Fact]
    public async Task TlsServerOnLoopbackThatBreaksHandshakesForAMoment_IsNeverSpokenToInPlainHttp()
    {
        using var authority = new CertificateAuthority();
        await using var registry = new ScriptedServer(_ => Manifest());
        (string certificate, string key) = authority.Issue("127.0.0.1");
        using var nginx = new NginxServer(new NginxSettings { Upstream = registry.Host, Certificate = certificate, CertificateKey = key });
        int broken = 0;
        var plain = new System.Collections.Concurrent.ConcurrentQueue<int>();
        using var door = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        door.Start();
        Task serving = Task.Run(async () =>
        {
            while (true)
            {
                System.Net.Sockets.Socket socket = await door.AcceptSocketAsync(Token);
                _ = Task.Run(async () =>
                {
                    using System.Net.Sockets.Socket owned = socket;
                    var first = new byte[1];
                    await socket.ReceiveAsync(first, System.Net.Sockets.SocketFlags.Peek);
                    if (first[0] != 0x16)
                        plain.Enqueue(first[0]);
                    if (Interlocked.Increment(ref broken) <= 4)
                        return;
                    using var server = new System.Net.Sockets.TcpClient();
                    await server.ConnectAsync(IPEndPoint.Parse(nginx.Host), Token);
                    await using var near = new System.Net.Sockets.NetworkStream(socket);
                    await Task.WhenAny(near.CopyToAsync(server.GetStream(), Token), server.GetStream().CopyToAsync(near, Token));
                }, Token);
            }
        }, Token);
        await using var source = new RegistrySource(
            ImageReference.Parse($"{door.LocalEndpoint}/app:v1"), TestRegistries.Options with { TlsCaFile = authority.Certificate }, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        Assert.Equal(s_image.Manifest, (await source.GetRootAsync(Token)).Bytes);
        Assert.All(registry.Requests.Where(request => request.Path != "/v2/"), request => Assert.Contains("lazymount", request.Headers["User-Agent"], StringComparison.Ordinal));
        Assert.All(nginx.Requests.Where(request => request.Status == 200), request => Assert.Equal("HTTP/2.0", request.Protocol));
        door.Stop();
        await Assert.ThrowsAnyAsync<Exception>(() => serving);
    }

    [Fact]
    public async Task LoopbackServerThatIsSilentToTls_IsProbedOnceForAll()
    {
        int tls = 0;
        await using var server = new SilentToTls(s_content, () => Interlocked.Increment(ref tls));
        await using var source = new RegistrySource(ImageReference.Parse($"{server.Host}/app:v1"), TestRegistries.Options, RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(i => ReadAsync(source, i, 10)));
        await ReadAsync(source, 50, 10);
        Assert.Equal(1, tls);
    }

    /// <summary>Answers plain HTTP, and nothing at all to a TLS greeting.</summary>
    private sealed class SilentToTls : IAsyncDisposable
    {
        private readonly System.Net.Sockets.TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly ScriptedServer _server;
        private readonly Task _serving;

        public SilentToTls(byte[] content, Action greeted)
        {
            _server = new ScriptedServer(request => ScriptedResponse.Of(content, request));
            _listener.Start();
            _serving = Task.Run(async () =>
            {
                var open = new List<System.Net.Sockets.Socket>();
                try
                {
                    while (true)
                    {
                        System.Net.Sockets.Socket socket = await _listener.AcceptSocketAsync();
                        open.Add(socket);
                        _ = Task.Run(async () =>
                        {
                            byte[] first = new byte[1];
                            await socket.ReceiveAsync(first, System.Net.Sockets.SocketFlags.Peek);
                            if (first[0] == 0x16)
                            {
                                greeted();
                                return;
                            }
                            using var server = new System.Net.Sockets.TcpClient();
                            await server.ConnectAsync(IPEndPoint.Parse(_server.Host));
                            await using var near = new System.Net.Sockets.NetworkStream(socket);
                            await Task.WhenAny(near.CopyToAsync(server.GetStream()), server.GetStream().CopyToAsync(near));
                            socket.Close();
                        });
                    }
                }
                catch (Exception e) when (e is System.Net.Sockets.SocketException or ObjectDisposedException or InvalidOperationException)
                {
                    open.ForEach(socket => socket.Dispose());
                }
            });
        }

        public string Host => _listener.LocalEndpoint.ToString()!;

        public async ValueTask DisposeAsync()
        {
            _listener.Stop();
            await _serving;
            await _server.DisposeAsync();
        }
    }
}
