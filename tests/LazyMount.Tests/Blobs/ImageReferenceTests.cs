using CsCheck;
using LazyMount.Blobs.Images;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class ImageReferenceTests
{
    private const string Sha = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    [Theory]
    [InlineData("debian", "docker.io/library/debian:latest")]
    [InlineData("debian:12", "docker.io/library/debian:12")]
    [InlineData("docker://debian:12", "docker.io/library/debian:12")]
    [InlineData("me/app", "docker.io/me/app:latest")]
    [InlineData("docker.io/debian", "docker.io/library/debian:latest")]
    [InlineData("index.docker.io/library/debian", "docker.io/library/debian:latest")]
    [InlineData("debian@" + Sha, "docker.io/library/debian@" + Sha)]
    [InlineData("debian:12@" + Sha, "docker.io/library/debian:12@" + Sha)]
    [InlineData("localhost/app", "localhost/app:latest")]
    [InlineData("localhost:5000/app", "localhost:5000/app:latest")]
    [InlineData("127.0.0.1:5000/a/b-c/d__e.f:v1", "127.0.0.1:5000/a/b-c/d__e.f:v1")]
    [InlineData("[::1]:5000/app", "[::1]:5000/app:latest")]
    [InlineData("[fe80::1]/app", "[fe80::1]/app:latest")]
    [InlineData("localhost:65535/app", "localhost:65535/app:latest")]
    [InlineData("registry.example.org:05000/app", "registry.example.org:05000/app:latest")]
    [InlineData("EXAMPLE.org/app", "EXAMPLE.org/app:latest")]
    [InlineData("1.2.3.4/app", "1.2.3.4/app:latest")]
    [InlineData("ghcr.io/a/b:Tag_1.2-x", "ghcr.io/a/b:Tag_1.2-x")]
    [InlineData("oci:dir", "oci:dir")]
    [InlineData("oci:dir:v1", "oci:dir:v1")]
    [InlineData("oci:/abs/dir:docker.io/library/debian:12", "oci:/abs/dir:docker.io/library/debian:12")]
    [InlineData("oci:../x@y", "oci:../x@y")]
    [InlineData("oci:dir:@1", "oci:dir:@1")]
    [InlineData("oci-archive:x.tar:@0", "oci-archive:x.tar:@0")]
    [InlineData("docker://dir:v1", "docker.io/library/dir:v1")]
    [InlineData("oci-archive:x.tar", "oci-archive:x.tar")]
    [InlineData("oci-archive:/abs/x.tar:v1", "oci-archive:/abs/x.tar:v1")]
    [InlineData("docker-archive:x.tar", "docker-archive:x.tar")]
    [InlineData("docker-archive:x.tar:debian", "docker-archive:x.tar:docker.io/library/debian:latest")]
    [InlineData("docker-archive:../x.tar.gz:localhost:5000/a/b:v1", "docker-archive:../x.tar.gz:localhost:5000/a/b:v1")]
    [InlineData("docker-archive:x.tar:@12", "docker-archive:x.tar:@12")]
    public void Text_IsParsedInFull(string text, string expected)
    {
        ImageReference reference = ImageReference.Parse(text);
        Assert.Equal(expected, reference.ToString());
        Assert.Equal(reference, ImageReference.Parse(expected));
    }

    [Fact]
    public void Parts_AreTakenApart()
    {
        ImageReference reference = ImageReference.Parse("localhost:5000/a/b:v1@" + Sha);
        Assert.Equal((Transport.Registry, "localhost:5000", "a/b", "v1", Sha), (reference.Transport, reference.Location, reference.Repository, reference.Tag, reference.Digest.ToString()));
        reference = ImageReference.Parse("oci:some/dir:v1");
        Assert.Equal((Transport.OciLayout, "some/dir", "", "v1"), (reference.Transport, reference.Location, reference.Repository, reference.Tag));
    }

    [Theory]
    [InlineData("oci:dir:v1", true)]
    [InlineData("oci-archive:x.tar:v1", true)]
    [InlineData("docker-archive:x.tar:@1", true)]
    [InlineData("debian", false)]
    public void AbsoluteReference_MeansTheSameEverywhere(string text, bool isPath)
    {
        ImageReference reference = ImageReference.Parse(text), absolute = reference.ToAbsolute();
        Assert.Equal(isPath ? Path.GetFullPath(reference.Location) : reference.Location, absolute.Location);
        Assert.Equal((reference.Tag, reference.SourceIndex), (absolute.Tag, absolute.SourceIndex));
    }

    [Theory]
    [InlineData("", "names no image")]
    [InlineData("docker://", "names no image")]
    [InlineData("Debian", "must be lower case; write debian")]
    [InlineData("ghcr.io/Me/App:1", "must be lower case; write ghcr.io/me/app")]
    [InlineData("./dir", "for an OCI layout directory write oci:./dir")]
    [InlineData("/abs/dir", "write oci:/abs/dir")]
    [InlineData("~/dir", "write oci:~/dir")]
    [InlineData("https://ghcr.io/a/b", "without one")]
    [InlineData("oci:", "names no directory")]
    [InlineData("oci::tag", "names no directory")]
    [InlineData("oci:dir:", "not a tag")]
    [InlineData("oci:dir:@", "not a number; write oci:DIR:@0")]
    [InlineData("oci:dir:@0@" + Sha, "both a number and a digest; write oci:DIR:@0 or oci:DIR@DIGEST")]
    [InlineData("ocidir://dir:@0@" + Sha, "both a number and a digest")]
    [InlineData("oci-archive:x.tar:@0@" + Sha, "both a number and a digest; write oci-archive:FILE:@0 or oci-archive:FILE@DIGEST")]
    [InlineData("oci:dir@sha256:short", "'sha256:short' is not a digest; write sha256: and 64 hex digits, or sha512: and 128 hex digits, all in lower case")]
    [InlineData("oci:dir@sha256:", "'sha256:' is not a digest")]
    [InlineData("oci:dir:v1@sha256:short", "'sha256:short' is not a digest")]
    [InlineData("oci:dir:@0@sha256:short", "is not a digest")]
    [InlineData("oci:dir@SHA256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "all in lower case")]
    [InlineData("oci:dir@e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "is not a digest; write sha256: and")]
    [InlineData("oci:dir@sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sha512: and 128 hex digits")]
    [InlineData("oci:dir@" + Sha + "0", "is not a digest")]
    [InlineData("oci:dir@" + Sha + ":v1", "is not a digest")] // the tag stands before the digest
    [InlineData("oci:dir@" + Sha + ":@0", "is not a digest")]
    [InlineData("oci:dir@" + Sha + "@" + Sha, "is not a digest")]
    [InlineData("oci:@" + Sha, "names no directory")]
    [InlineData("oci-layout://dir@sha256:short", "is not a digest")]
    [InlineData("docker-archive:x.tar@" + Sha, "have no digest; write docker-archive:FILE, docker-archive:FILE:NAME:TAG or docker-archive:FILE:@0")]
    [InlineData("docker-archive:x.tar:@0@" + Sha, "have no digest")]
    [InlineData("oci-archive:x.tar:@x", "not a number; write oci-archive:FILE:@0")]
    [InlineData("containers-storage:debian:12", "skopeo copy containers-storage:debian:12 oci:DIR:TAG")]
    [InlineData("docker-daemon:debian:12", "the transport docker-daemon: is not supported")]
    [InlineData("dir:/tmp/x", "the transport dir: is not supported")]
    [InlineData("oci-archive:", "names no file")]
    [InlineData("oci-archive:a:b c", "FILE has no colon")]
    [InlineData("docker-archive::debian", "names no file")]
    [InlineData("docker-archive:x.tar:", "not an image's name")]
    [InlineData("docker-archive:x:/y.tar", "FILE has no colon")]
    [InlineData("docker-archive:x.tar:debian@" + Sha, "have no digest")]
    [InlineData("docker-archive:x.tar:@", "not a number")]
    [InlineData("docker-archive:x.tar:@-1", "not a number")]
    [InlineData("docker-archive:x.tar:@99999999999", "not a number")]
    [InlineData("debian:", "not a tag")]
    [InlineData("debian:-x", "not a tag")]
    [InlineData("debian:a b", "not a tag")]
    [InlineData("debian@sha256:12", "not a digest")]
    [InlineData("debian@", "not a digest")]
    [InlineData("a//b", "not a repository's name")]
    [InlineData("a/b/", "not a repository's name")]
    [InlineData("a..b", "not a repository's name")]
    [InlineData("a___b", "not a repository's name")]
    [InlineData("-a", "not a repository's name")]
    [InlineData("a/../b", "not a repository's name")]
    [InlineData("ex ample.com/a", "is not a registry; write HOST")]
    [InlineData("user@host.com/a", "not a digest")]
    [InlineData("host:port/a", "is not a registry; write HOST")]
    [InlineData("localhost:99999/x", "is not a registry; write HOST")]
    [InlineData("localhost:65536/x", "is not a registry; write HOST")]
    [InlineData("localhost:0/x", "is not a registry; write HOST")]
    [InlineData("localhost:00000/x", "is not a registry; write HOST")]
    [InlineData("localhost:/x", "is not a registry; write HOST")]
    [InlineData("localhost:5000:5000/x", "is not a registry; write HOST")]
    [InlineData("[::1/x", "is not a registry; write HOST")]
    [InlineData("[::1]x/x", "is not a registry; write HOST")]
    [InlineData("[:::1]:5000/x", "is not a registry; write HOST")]
    [InlineData("[1.2.3.4.5]/x", "is not a registry; write HOST")]
    [InlineData("[::1]:99999/x", "is not a registry; write HOST")]
    [InlineData("::1/x", "is not a registry; write HOST")]
    [InlineData("a..b/x", "is not a registry; write HOST")]
    [InlineData("a.-b/x", "is not a registry; write HOST")]
    [InlineData("b\u00fccher.example/x", "is not a registry; write HOST")]
    [InlineData("localhost:5000/", "not a repository's name")]
    [InlineData("localhost:5000/\u00e9", "not a repository's name")]
    [InlineData("localhost:5000/x:\u00e9", "not a tag")]
    [InlineData("localhost:5000/x@sha256", "not a digest")]
    [InlineData("localhost:5000/x@@sha256:1", "not a digest")]
    [InlineData("localhost:5000/x@" + Sha + "@" + Sha, "not a digest")]
    [InlineData("@" + Sha, "not a repository's name")]
    [InlineData(":v1", "not a repository's name")]
    [InlineData(" ", "not a repository's name")]
    public void Slip_IsExplained(string text, string reason)
        => Assert.Contains(reason, Assert.Throws<FormatException>(() => ImageReference.Parse(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("https://me:secret@ghcr.io/a/b")]
    [InlineData("docker://me:secret@ghcr.io/a/b:v1")]
    [InlineData("me:secret@ghcr.io/a/b")]
    [InlineData("me:sec:secret@secret@ghcr.io/a/b")]
    public void Password_IsNotRepeated(string text)
        => Assert.DoesNotContain("secret", Assert.Throws<FormatException>(() => ImageReference.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void ReferenceThatIsTaken_MakesAUrl() // whatever pieces it is made of
    {
        int taken = 0;
        Gen.OneOf("a", "B", "07", ".", "-", ":", "[", "]", "localhost", ":5000", ":65536", "_", "%", "\u00e9", "[::1]", "::", "/", "/x", "@", "docker://", Sha).Array[1, 7].Sample(pieces =>
        {
            string text = string.Concat(pieces);
            try
            {
                ImageReference reference = ImageReference.Parse(text);
                Assert.Equal(reference.ToString(), ImageReference.Parse(reference.ToString()).ToString());
                Assert.Equal($"/v2/{reference.Repository}/", new Uri($"https://{reference.Location}/v2/{reference.Repository}/").AbsolutePath);
                Interlocked.Increment(ref taken);
            }
            catch (FormatException e) when (e is not UriFormatException)
            {
                Assert.Contains("is not an image reference: ", e.Message, StringComparison.Ordinal);
            }
        }, iter: 20_000);
        Assert.True(taken > 100, $"{taken} of the texts are references");
    }

    [Theory]
    [InlineData("localhost:5000/a/b:v1", "v1")]
    [InlineData("debian", "latest")]
    [InlineData("debian@" + Sha, null)]
    [InlineData("debian:12@" + Sha, "12")]
    [InlineData("debian:_x", null)] // no name that a layout can hold
    [InlineData("oci:dir:docker.io/library/debian:12", "docker.io/library/debian:12")]
    [InlineData("oci-archive:x.tar", null)]
    [InlineData("oci-archive:x.tar:@1", null)]
    [InlineData("docker-archive:x.tar:localhost:5000/a/b:v1", "v1")]
    [InlineData("docker-archive:x.tar:debian", "latest")]
    [InlineData("docker-archive:x.tar", null)]
    public void Name_IsTheTag(string text, string? expected)
    {
        Assert.Equal(expected, ImageReference.Parse(text).Name);
        Assert.Equal($"oci:dir:{expected ?? "x"}", ImageReference.Parse("oci:dir").WithTag(expected ?? "x").ToString());
    }

    [Fact]
    public void LongNames_AreRefused()
    {
        Assert.Throws<FormatException>(() => ImageReference.Parse(new string('a', 256)));
        Assert.Throws<FormatException>(() => ImageReference.Parse("a:" + new string('b', 129)));
        ImageReference.Parse("a:" + new string('b', 128));
    }

    [Theory]
    [InlineData("{0}")]
    [InlineData("./{0}")]
    [InlineData("a:{0}")]
    [InlineData("A{0}/b")]
    [InlineData("a.b{0}/c")]
    [InlineData("dir:{0}")]
    [InlineData("oci:a:{0}")]
    [InlineData("docker-archive:a:{0}")]
    [InlineData("oci:a:@{0}")]
    [InlineData("a@{0}")]
    public void Sentence_IsShortAndCanBeEncoded(string form) // an argument that is not UTF-8 holds surrogates alone
    {
        string text = string.Format(null, form, "\udce9" + new string('x', 5000));
        string message = Assert.Throws<FormatException>(() => ImageReference.Parse(text)).Message;
        Assert.True(message.Length < 1500 && !message.Any(char.IsSurrogate), message);
    }

    [Fact]
    public void ControlCharacters_DoNotReachTheSentence()
        => Assert.DoesNotContain('\e', Assert.Throws<FormatException>(() => ImageReference.Parse("a\e[31m")).Message);

    [Theory]
    [InlineData("MyRegistry/image", "MyRegistry", "image")]
    [InlineData("REG/team/app:v1", "REG", "team/app")]
    [InlineData("localhost/x", "localhost", "x")]
    [InlineData("[::1]:5000/x", "[::1]:5000", "x")]
    [InlineData("team/app", "docker.io", "team/app")]
    public void FirstComponent_IsAHostAsDockerHasIt(string text, string host, string repository)
    {
        ImageReference reference = ImageReference.Parse(text);
        Assert.Equal((host, repository), (reference.Location, reference.Repository));
    }

    [Theory]
    [InlineData("oci:dir@sha256:{0}", "dir", null, true)]
    [InlineData("oci:dir:v1@sha256:{0}", "dir", "v1", true)]
    [InlineData("ocidir:///a/dir:v1", "/a/dir", "v1", false)]
    [InlineData("oci-layout://dir@sha256:{0}", "dir", null, true)]
    [InlineData("oci:dir@sha256", "dir@sha256", null, false)]
    [InlineData("oci:a@b:v1", "a@b", "v1", false)]
    [InlineData("oci:a@b:docker.io/library/debian:12@sha256:{0}", "a@b", "docker.io/library/debian:12", true)]
    [InlineData("oci:dir@sha512:{0}{0}", "dir", null, true)]
    public void Layout_IsNamedByDigestAndByOtherToolsSchemes(string text, string directory, string? tag, bool hasDigest)
    {
        ImageReference reference = ImageReference.Parse(string.Format(System.Globalization.CultureInfo.InvariantCulture, text, new string('a', 64)));
        Assert.Equal((Transport.OciLayout, directory, tag, hasDigest), (reference.Transport, reference.Location, reference.Tag, reference.Digest is not null));
        Assert.Equal(reference, ImageReference.Parse(reference.ToString()));
    }
}
