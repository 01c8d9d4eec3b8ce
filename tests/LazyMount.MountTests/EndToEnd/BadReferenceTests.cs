using System.Text;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Images that are not there or may not be had: exit code and sentence of each.</summary>
public sealed class BadReferenceTests(SharedRegistry registry) : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void NoSuchRepository_IsNamed()
        => Sentence.AssertOne(Mount($"{registry.Server.Host}/no/such:v1"), 1, "no/such");

    [Fact]
    public void NoSuchTag_IsNamed()
    {
        string image = registry.Push(SmallImage().Reference("v1"));
        string missing = image.Replace(":v1", ":v2", StringComparison.Ordinal);
        Sentence.AssertOne(Mount(missing), 1, missing);
    }

    [Fact]
    public void NoSuchDigest_IsNamed()
    {
        string digest = OciLayoutBuilder.DigestOf("nothing"u8);
        Sentence.AssertOne(Mount($"{registry.Server.Host}/test/small@{digest}"), 1, digest);
    }

    [Fact]
    public void NoSuchHost_IsNamed() => Sentence.AssertOne(Mount("no-such-host.invalid/app:v1"), 3, "no-such-host.invalid");

    [Fact]
    public void NothingListens_IsSaid() => Sentence.AssertOne(Mount("127.0.0.1:1/app:v1"), 3, "127.0.0.1:1", "refused");

    [Fact]
    public void NoSuchPlatform_NamesThoseThatAreThere()
    {
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"]).AddLayer(new TarBytes().File("a"));
        layout.WriteImageIndex("multi", "linux/s390x", "linux/ppc64le");
        Sentence.AssertOne(Mount(layout.Reference("multi"), "--platform", "linux/riscv64"), 1, "linux/riscv64", "linux/s390x", "linux/ppc64le");
        _lazymount.Run("ls", "--platform", "linux/s390x", layout.Reference("multi")).EnsureSuccess();
    }

    [Fact]
    public void NoSuchLayoutDirectory_IsNamed()
    {
        string missing = _lazymount.Directory["missing"];
        Sentence.AssertOne(Mount($"oci:{missing}:v1"), 1, missing);
    }

    [Fact]
    public void DirectoryThatIsNoLayout_IsNamed()
    {
        string directory = _lazymount.Directory.CreateDirectory("no-layout");
        Sentence.AssertOne(Mount($"oci:{directory}:v1"), 1, directory, "oci-layout");
    }

    [Fact]
    public void NoSuchTagInALayout_NamesThoseThatAreThere() => Sentence.AssertOne(Mount(SmallImage().Reference("v9")), 1, "v9", "v1");

    [Theory]
    [InlineData("docker.io/UPPER/case")]
    [InlineData("app:bad tag")]
    [InlineData("app@sha256:short")]
    [InlineData("")]
    public void MalformedReference_IsAUsageError(string reference) => Sentence.AssertOne(Mount(reference), 2);

    [Theory]
    [InlineData("mount")]
    [InlineData("mount", "one", "two", "three")]
    [InlineData("mount", "--no-such-option", "image", "/")]
    [InlineData("no-such-verb")]
    [InlineData("mount", "-o", "rw", "image", "/")]
    public void WrongCommandLine_IsAUsageError(params string[] arguments) => Sentence.AssertOne(_lazymount.Run(arguments), 2);

    [Fact]
    public void RegistryThatAsksForALogin_IsReadWithTheRightOneOnly()
    {
        using var server = new RegistryServer(requireLogin: true);
        string image = Skopeo.Push(SmallImage().Reference("v1"), server, "private:v1", $"{RegistryServer.User}:{RegistryServer.Password}");
        Sentence.AssertOne(Mount(image), 3, server.Host);

        WriteCredentials(server.Host, "wrong");
        Sentence.AssertOne(Mount(image), 3, server.Host);

        WriteCredentials(server.Host, RegistryServer.Password);
        Assert.Equal("small\n", _lazymount.Run("cat", image, "file").EnsureSuccess().Output);
    }

    private void WriteCredentials(string host, string password)
    {
        string auth = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{RegistryServer.User}:{password}"));
        File.WriteAllText(Path.Combine(_lazymount.DockerConfigDirectory, "config.json"), "{\"auths\": {\"" + host + "\": {\"auth\": \"" + auth + "\"}}}");
    }

    private OciLayoutBuilder SmallImage()
    {
        OciLayoutBuilder layout = new OciLayoutBuilder(_lazymount.Directory["layout"]).AddLayer(new TarBytes().Directory("./").File("file", "small\n"));
        layout.WriteImage("v1");
        return layout;
    }

    private ToolResult Mount(string image, params string[] options)
    {
        string directory = _lazymount.NewMountPoint();
        ToolResult result = _lazymount.Run(["mount", .. options, image, directory]);
        Assert.False(LazyMountCli.IsMounted(directory));
        return result;
    }
}
