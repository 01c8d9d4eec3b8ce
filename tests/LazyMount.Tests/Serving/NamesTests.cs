using System.Text;
using CsCheck;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Serving;
using LazyMount.Serving.Pages;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Serving;

/// <summary>Names of images and of their files in URLs and on pages.</summary>
public sealed class NamesTests
{
    private static readonly Gen<byte[]> s_names = Gen.Byte.Array[1, 40].Where(name => !name.Contains((byte)0) && !name.Contains((byte)'/') && name is not ([(byte)'.'] or [(byte)'.', (byte)'.']));

    [Fact]
    public void Paths_GoThroughUrlsByteForByte()
        => s_names.Array[0, 5].Sample(names =>
        {
            string url = UrlPath.Encode(UrlPath.Join(names));
            Assert.All(url, each => Assert.True(char.IsAsciiLetterOrDigit(each) || "/%-._~".Contains(each)));
            Assert.Equal(names, UrlPath.Decode(url));
        });

    [Theory]
    [InlineData("/%")]
    [InlineData("/%4")]
    [InlineData("/%g0")]
    [InlineData("/a%00b")]
    [InlineData("/a%2Fb")]
    [InlineData("/a/../b")]
    [InlineData("/%2E%2e")]
    [InlineData("/.")]
    [InlineData("/ä")]
    public void WhatIsNoPath_IsNotRead(string url) => Assert.Null(UrlPath.Decode(url));

    [Fact]
    public void Names_NeverBecomeMarkup_AndDifferentOnesLookDifferent()
        => Gen.Select(s_names, s_names).Sample((one, other) =>
        {
            string shown = NameText.Show(one).Text;
            Assert.Equal(shown.Count(each => each == '<'), shown.Split("<bdi>").Length - 1 + shown.Split("</bdi>").Length - 1 + shown.Split("<span class=\"byte\">").Length - 1 + shown.Split("</span>").Length - 1);
            Assert.True(one.AsSpan().SequenceEqual(other) || shown != NameText.Show(other).Text);
        });

    [Theory]
    [InlineData("plain name.txt", "plain name.txt")]
    [InlineData("a\nb", "a\\nb")]
    [InlineData("\u001B[1m", "\\x1B[1m")]
    [InlineData("\u202Egpj.exe", "\\u{202E}gpj.exe")]
    [InlineData("zero\u200Bwidth", "zero\\u{200B}width")]
    [InlineData("grüße 漢字", "grüße 漢字")]
    public void WhatCannotBeSeen_IsShownAsItsNumber(string name, string shown) => Assert.Equal(shown, NameText.Plain(Encoding.UTF8.GetBytes(name)));

    [Fact]
    public void BytesThatAreNoText_AreShownAsNumbers() => Assert.Equal("\\xFF\\xC3a", NameText.Plain([0xFF, 0xC3, (byte)'a']));

    [Theory]
    [InlineData("debian:12", "debian-12")]
    [InlineData("ghcr.io/owner/App_x:v1.2", null)] // no such reference: capitals
    [InlineData("ghcr.io/owner/app_x:v1.2", "app_x-v1.2")]
    [InlineData("debian", "debian-latest")]
    [InlineData("debian@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945", "debian-4f53cda18c2b")]
    [InlineData("oci:/some where/a b:v1", "a-b-v1")]
    [InlineData("oci:/x/..:t", "t")]
    [InlineData("docker-archive:/x/app.tar", "app.tar")]
    public void Images_HaveNamesThatEverySystemTakes(string reference, string? name)
    {
        if (name is null)
        {
            Assert.Throws<FormatException>(() => ImageReference.Parse(reference));
            return;
        }
        Assert.Equal(name, ServedImages.NameOf(ImageReference.Parse(reference)));
    }

    [Fact]
    public void ImagesOfOneName_AreToldApart()
    {
        var images = new ServedImages(((string[])["a/app:v1", "b/app:v1", "c/app:v1"]).Select(ImageReference.Parse), new CommandSettings { CacheDirectory = "/nowhere" }, NullLoggerFactory.Instance);
        Assert.Equal(["app-v1", "app-v1-2", "app-v1-3"], images.All.Select(image => image.Name));
        Assert.Null(images.Find("debian"u8));
    }

    [Fact]
    public void ListedArchivesAndPrograms_MayBeDamagedAnywhere()
    {
        byte[] program = File.ReadAllBytes("/bin/true");
        Gen.Select(Gen.Int[0, 1023], Gen.Byte, Gen.Int[0, 4096]).Sample((at, value, cut) =>
        {
            byte[] damaged = program[..^cut];
            damaged[at] = value;
            Task<byte[]> ReadAsync(long start, int length) => Task.FromResult(damaged.AsSpan((int)start, (int)Math.Clamp(damaged.Length - start, 0, length)).ToArray());
            _ = ElfFacts.ReadAsync(damaged[..4096], damaged.Length, ReadAsync).GetAwaiter().GetResult();
            damaged[0] = (byte)'P';
            "PK\u0003\u0004"u8.CopyTo(damaged);
            "PK\u0005\u0006"u8.CopyTo(damaged.AsSpan(damaged.Length - 22));
            _ = ArchiveListing.ReadAsync(damaged[..4096], damaged.Length, ReadAsync).GetAwaiter().GetResult();
        });
    }

    [Fact]
    public async Task Program_TellsWhatReadelfTells()
    {
        byte[] program = File.ReadAllBytes("/bin/true");
        var facts = (await ElfFacts.ReadAsync(program[..4096], program.Length, (start, length) => Task.FromResult(program.AsSpan((int)start, (int)Math.Min(length, program.Length - start)).ToArray())))!.ToDictionary(fact => fact.Title, fact => fact.Value);
        string headers = TestKit.Tool.Run("readelf", "-lndW", "/bin/true").EnsureSuccess().Output;
        Assert.Contains($"interpreter: {facts["Interpreter"]}]", headers, StringComparison.Ordinal);
        Assert.Contains($"Build ID: {facts["Build ID"]}", headers, StringComparison.Ordinal);
        Assert.Contains($"Shared library: [{facts["Needs"]}]", headers, StringComparison.Ordinal);
        Assert.Contains($"Entry point {facts["Entry"]}", headers, StringComparison.Ordinal);
    }
}
