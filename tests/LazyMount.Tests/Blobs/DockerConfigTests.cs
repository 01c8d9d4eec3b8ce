using LazyMount.Blobs.Registry.Accounts;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class DockerConfigTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private Credentials? Find(string json, string registry)
    {
        File.WriteAllText(Path.Combine(_directory.Path, "config.json"), json);
        return DockerConfig.Find(_directory.Path, registry, NullLogger.Instance);
    }

    [Theory]
    [InlineData("localhost:5000", "localhost:5000")]
    [InlineData("http://localhost:5000", "localhost:5000")]
    [InlineData("https://ghcr.io/v1/", "ghcr.io")]
    [InlineData("https://index.docker.io/v1/", "docker.io")]
    [InlineData("docker.io", "docker.io")]
    [InlineData("registry-1.docker.io", "docker.io")]
    public void Key_IsFoundInAnySpelling(string key, string registry)
        => Assert.Equal(new Credentials("me", "pass:word"), Find($$"""{"auths":{"other":{},"{{key}}":{"auth":"bWU6cGFzczp3b3Jk"} } }""", registry));

    [Fact]
    public void ExactKey_WinsOverOtherSpellings()
        => Assert.Equal("b", Find("""{"auths":{"https://h.example":{"username":"a","password":"x"},"h.example":{"username":"b","password":"x"}}}""", "h.example")!.UserName);

    [Fact]
    public void IdentityToken_IsRead()
        => Assert.Equal("tok", Find("""{"auths":{"h":{"auth":"MDAwOg==","identitytoken":"tok"}}}""", "h")!.IdentityToken);

    [Theory]
    [InlineData("""{"auths":{"h:5000":{"auth":"bWU6cHc="}}}""")]
    [InlineData("""{"auths":{"h":{}}}""")]
    [InlineData("""{"auths":{"h":null}}""")]
    [InlineData("""{"auths":{"h":{"auth":"%%%"}}}""")]
    [InlineData("""{"auths":{"h":{"auth":"bWU="}}}""")]
    [InlineData("""{"auths":[]}""")]
    [InlineData("""{"auths":null,"credsStore":"x"}""")]
    [InlineData("not json")]
    public void NothingUsable_IsNone(string json) => Assert.Null(Find(json, "h"));

    [Fact]
    public void MissingFile_IsNone() => Assert.Null(DockerConfig.Find(Path.Combine(_directory.Path, "none"), "h", NullLogger.Instance));

    [Fact]
    public void Credentials_DoNotPrintTheirSecrets()
        => Assert.DoesNotContain("secret", new Credentials("me", "secret", "secret").ToString(), StringComparison.Ordinal);
}
