using LazyMount.Cli;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class ImagePathTextTests
{
    [Theory]
    [InlineData("")]
    [InlineData("2F657463")]
    [InlineData("2F636166C3A92FF09F9880")] // two and four bytes of UTF-8
    [InlineData("2FE9")]
    [InlineData("FFFE80")]
    [InlineData("EDB280")] // a surrogate, which UTF-8 has not
    [InlineData("F09F98")]
    public void Bytes_ComeBack(string hex) => Assert.Equal(hex, Convert.ToHexString(ImagePathText.Encode(ImagePathText.Decode(Convert.FromHexString(hex)))));

    [Fact]
    public void Text_IsUtf8() => Assert.Equal("/caf\u00e9"u8.ToArray(), ImagePathText.Encode("/caf\u00e9"));
}
