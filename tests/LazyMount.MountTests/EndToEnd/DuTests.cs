using System.Text.Json;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`lazymount du` against GNU du on a mount of the same image.</summary>
public sealed class DuTests(ManyKindsImage image) : IClassFixture<ManyKindsImage>
{
    [Theory]
    [InlineData(".")]
    [InlineData("-a .")]
    [InlineData("-ah .")]
    [InlineData("-s .")]
    [InlineData("-h sizes links")]
    [InlineData("-d 1 .")]
    [InlineData("-d 0 etc deep")]
    [InlineData("-a -d 1 links deep")]
    [InlineData("-b .")]
    [InlineData("-ab .")]
    [InlineData("-sb sizes .")]
    [InlineData("--apparent-size .")]
    [InlineData("--apparent-size -ah sizes")]
    [InlineData("-c links/one links/two links")]
    [InlineData("-a links links/sub links")]
    [InlineData("-ac links/sub links")]
    [InlineData("-shc sizes etc")]
    [InlineData("links/directory links/directory/ links/file")]
    [InlineData("sizes/s4096 sizes/")]
    [InlineData("nonesuch etc")]
    public void Sums_AreThoseOfGnuDu(string arguments)
        => ManyKindsImage.AssertSame(image.Theirs($"du {arguments}"), image.Ours($"exec \"$L\" du \"$I\" {arguments}"), isSorted: true);

    [Fact]
    public void Json_IsAnObjectALineInBytes()
    {
        string[] lines = image.Ours("\"$L\" du --json -c \"$I\" links/sub deep").EnsureSuccess().Output.TrimEnd('\n').Split('\n');
        Assert.Equal(["""{"path":"/links/sub","type":"directory","usage":2048}""", """{"path":"/deep","type":"directory","usage":1024}""", """{"usage":3072}"""], [lines[0], lines[^2], lines[^1]]);
        Assert.All(lines, line => JsonDocument.Parse(line));
    }

    [Theory]
    [InlineData("-s -a", "-a")]
    [InlineData("-s -d 2", "-d 2")]
    [InlineData("-d x", "--max-depth")]
    [InlineData("-d -1", "--max-depth")]
    public void OptionsThatContradict_AreAUsageError(string options, string told) => Sentence.AssertOne(image.Ours($"exec \"$L\" du {options} \"$I\""), 2, told);
}
