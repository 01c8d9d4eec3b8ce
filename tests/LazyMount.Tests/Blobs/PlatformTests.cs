using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class PlatformTests
{
    [Theory]
    [InlineData("linux/amd64", "linux/amd64")]
    [InlineData("linux/arm64/v8", "linux/arm64")]
    [InlineData("linux/aarch64", "linux/arm64")]
    [InlineData("linux/x86_64", "linux/amd64")]
    [InlineData("Linux/AMD64/v1", "linux/amd64")]
    [InlineData("linux/amd64/v3", "linux/amd64/v3")]
    [InlineData("linux/arm", "linux/arm/v7")]
    [InlineData("linux/arm/6", "linux/arm/v6")]
    [InlineData("linux/armhf", "linux/arm/v7")]
    [InlineData("windows/amd64", "windows/amd64")]
    public void Text_IsParsedAndNormalised(string text, string expected) => Assert.Equal(expected, Platform.Parse(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("linux")]
    [InlineData("linux/")]
    [InlineData("/amd64")]
    [InlineData("linux/arm/v7/x")]
    [InlineData("linux/amd64,linux/arm64")]
    public void MalformedText_IsRefused(string text)
        => Assert.Contains("linux/arm64", Assert.Throws<FormatException>(() => Platform.Parse(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("linux/amd64", "linux/amd64", 0)]
    [InlineData("linux/amd64", "linux/386", 1)]
    [InlineData("linux/amd64", "linux/amd64/v2", -1)]
    [InlineData("linux/amd64", "windows/amd64", -1)]
    [InlineData("linux/amd64/v3", "linux/amd64", 2)]
    [InlineData("linux/arm64", "linux/arm64/v8", 0)]
    [InlineData("linux/arm64/v8", "linux/arm64", 0)]
    [InlineData("linux/arm64", "linux/arm/v8", 1)]
    [InlineData("linux/arm64", "linux/arm/v7", 2)]
    [InlineData("linux/arm64", "linux/arm64/v9", -1)]
    [InlineData("linux/arm64/v9", "linux/arm64/v8", 1)]
    [InlineData("linux/arm/v7", "linux/arm", 0)]
    [InlineData("linux/arm/v7", "linux/arm/v6", 1)]
    [InlineData("linux/arm/v7", "linux/arm/v5", 2)]
    [InlineData("linux/arm/v6", "linux/arm/v7", -1)]
    [InlineData("linux/riscv64", "linux/riscv64", 0)]
    public void Offer_IsRankedAsContainerdDoes(string wanted, string offered, int rank)
    {
        string[] parts = offered.Split('/');
        Assert.Equal(rank, Platform.Parse(wanted).Rank(new Platform(parts[0], parts[1]) { Variant = parts.ElementAtOrDefault(2) }));
    }

    [Fact]
    public void Local_IsLinuxOnThisProcessor()
    {
        Assert.Equal("linux", Platform.Local.Os);
        Assert.Equal(Platform.Local, Platform.Parse(Platform.Local.ToString()));
    }
}
