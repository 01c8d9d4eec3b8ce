using System.Text;
using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class DigestTests
{
    private const string EmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    [Fact]
    public void KnownContent_HasKnownDigest()
    {
        Assert.Equal($"sha256:{EmptySha256}", Digest.OfSha256([]).ToString());
        Assert.True(Digest.TryParse($"sha256:{EmptySha256}", out Digest digest));
        Assert.Equal(Digest.OfSha256([]), digest);
    }

    [Fact]
    public void Sha512_IsParsedAndVerifies()
    {
        byte[] content = Encoding.UTF8.GetBytes("abc");
        Assert.True(Digest.TryParse("sha512:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA512.HashData(content)), out Digest digest));
        Assert.True(digest.Verifies(content));
        Assert.False(digest.Verifies([1]));
        using var hash = digest.StartHash();
        hash.AppendData(content);
        Assert.True(digest.IsHash(hash.GetHashAndReset()));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("sha256")]
    [InlineData("sha256:")]
    [InlineData(EmptySha256)]
    [InlineData("md5:" + EmptySha256)]
    [InlineData("SHA256:" + EmptySha256)]
    [InlineData("sha512:" + EmptySha256)]
    [InlineData("sha256:" + EmptySha256 + "0")]
    [InlineData("sha256: " + EmptySha256)]
    [InlineData("sha256:E3B0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    [InlineData("sha256:../4298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855aaaa")]
    public void MalformedText_IsRefused(string? text) => Assert.False(Digest.TryParse(text, out _));
}
