using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Hosts;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>Layers that a manifest gives urls for: a real registry that has them or not, and a web server.</summary>
public sealed class ForeignLayerTests(LockedRegistry registry) : IClassFixture<LockedRegistry>, IDisposable
{
    private const string ForeignType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    private static readonly byte[] s_layer = TestImage.RandomBytes(50_000, 5);

    private readonly TempDirectory _directory = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _directory.Dispose();

    private async Task<RegistrySource> OpenAsync()
    {
        string auth = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{DockerRegistry.User}:{DockerRegistry.Password}"));
        await File.WriteAllTextAsync(Path.Combine(_directory.Path, "config.json"), $$"""{"auths":{"{{registry.Host}}":{"auth":"{{auth}}"} } }""", Token);
        return new RegistrySource(
            ImageReference.Parse($"{registry.Host}/foreign:v1"), TestRegistries.With(_directory.Path), RegistrySourceTests.Impatient, NullLoggerFactory.Instance);
    }

    private static Descriptor Foreign(byte[] content, params string[] urls) => TestImage.DescriptorOf(content, ForeignType) with { Urls = urls };

    private static async Task<byte[]> ReadAsync(RegistrySource source, Descriptor blob, long offset = 0)
    {
        await using Stream stream = await source.OpenBlobAsync(blob, offset, blob.Size - offset, Token);
        var bytes = new MemoryStream();
        await stream.CopyToAsync(bytes, Token);
        return bytes.ToArray();
    }

    [Fact]
    public async Task WhatTheRegistryHas_ComesFromThere()
    {
        byte[] layer = TestImage.RandomBytes(1000, 6);
        await registry.PushBlobAsync("foreign", layer);
        await using var server = new ScriptedServer(_ => new ScriptedResponse(500));
        await using RegistrySource source = await OpenAsync();
        Assert.Equal(layer, await ReadAsync(source, Foreign(layer, $"http://{server.Host}/layer")));
        Assert.Empty(server.Requests);
    }

    [Fact]
    public async Task WhatTheRegistryHasNot_ComesFromTheFirstUrlThatGivesIt_WithoutCredentials()
    {
        await using var server = new ScriptedServer(request => request.Path switch
        {
            "/redirect" => new ScriptedResponse(302, "", "Location: /good"),
            "/good" => ScriptedResponse.Of(s_layer, request),
            "/short" => new ScriptedResponse(200, "short"),
            _ => new ScriptedResponse(404),
        });
        await using RegistrySource source = await OpenAsync();
        Descriptor blob = Foreign(s_layer, "no url", "ftp://127.0.0.1/x", $"http://{server.Host}/gone", $"http://{server.Host}/short", $"http://{server.Host}/redirect");
        Assert.Equal(s_layer, await ReadAsync(source, blob));
        Assert.Equal(["/gone", "/short", "/redirect", "/good"], server.Requests.Select(request => request.Path));

        // The next range asks the one that gave it.
        Assert.Equal(s_layer[100..], await ReadAsync(source, blob, offset: 100));
        Assert.Equal(["/redirect", "/good"], server.Requests.Skip(4).Select(request => request.Path));
        Assert.All(server.Requests, request => Assert.Null(request.Authorization));
    }

    [Fact]
    public async Task WhatNobodyHas_IsToldInOneSentence()
    {
        await using var server = new ScriptedServer(request => request.Path == "/loop" ? new ScriptedResponse(302, "", "Location: /loop") : new ScriptedResponse(404));
        await using RegistrySource source = await OpenAsync();
        var e = await Assert.ThrowsAsync<ImageException>(() => ReadAsync(source, Foreign(s_layer, $"http://{server.Host}/loop", $"http://{server.Host}/gone?signature=secret")));
        Assert.Equal(ImageError.NotFound, e.Error);
        Assert.Contains($"{registry.Host} does not have this foreign layer, and none of the 2 URLs in the manifest serves it; ask the publisher of the image (", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", e.Message, StringComparison.Ordinal);
        Assert.InRange(server.Requests.Count, 2, 8);
    }

    [Fact]
    public async Task WithoutUrls_TheRegistrysAnswerStands()
    {
        await using RegistrySource source = await OpenAsync();
        await Assert.ThrowsAsync<RegistryException>(() => ReadAsync(source, Foreign(s_layer)));
    }

    [Fact]
    public async Task PlainHttpUrlsOfARegistryWithTls_AreNotAsked()
    {
        await using var server = new ScriptedServer(request => ScriptedResponse.Of(s_layer, request));
        using var client = new RegistryClient(new RegistryEndpoint { Host = "no-such-host.invalid", Repository = "foreign", Root = new Uri("https://no-such-host.invalid/v2/") }, new CredentialStore(TestRegistries.Options, "", NullLogger.Instance), TestRegistries.Options, RegistrySourceTests.Impatient, NullLogger.Instance);
        var request = new RegistryRequest("blobs/x", "blob x") { Elsewhere = new Uri($"http://{server.Host}/layer") };
        var e = await Assert.ThrowsAsync<RegistryException>(() => client.SendAsync(request, (_, _) => Task.FromResult(0), Token));
        Assert.Contains("is not HTTPS", e.Message, StringComparison.Ordinal);
        Assert.Empty(server.Requests);
    }
}
