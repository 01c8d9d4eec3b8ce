using System.Text;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Credentials of the command line and of files, at a registry that asks for them.</summary>
public sealed class CredentialsTests : IDisposable
{
    private readonly RegistryServer _server = new(requireLogin: true);
    private readonly LazyMountCli _lazymount = new();
    private readonly string _image;

    public CredentialsTests()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("file", "content"u8.ToArray())).WriteImage("v1");
        _image = $"{_server.Host}/team/app:v1";
        Tool.Run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", $"{RegistryServer.User}:{RegistryServer.Password}", layout.Reference("v1"), $"docker://{_image}").EnsureSuccess();
    }

    public void Dispose()
    {
        _lazymount.Dispose();
        _server.Dispose();
    }

    private ToolResult Shell(string script)
    {
        using Tool shell = Tool.Start("sh", ["-c", script], _lazymount.Environment);
        return shell.WaitForExit();
    }

    [Theory]
    [InlineData("--creds=alice:wonderland")]
    [InlineData("--creds", "alice:wonderland")]
    public void CredsOfTheCommandLine_OpenTheImage_AndAreSeenNowhere(params string[] options)
    {
        string directory = _lazymount.NewMountPoint();
        _lazymount.Run(["mount", "-v", "--log-file", _lazymount.Directory["log"], .. options, _image, directory]).EnsureSuccess();
        Assert.Equal("content", File.ReadAllText(Path.Combine(directory, "file")));
        string seen = File.ReadAllText(_lazymount.Directory["log"]) + _lazymount.Run("list", "--json").Output;
        foreach (int process in (int[])[Assert.Single(LazyMountCli.DaemonsOf(directory)), Assert.Single(LazyMountCli.WorkersOf(directory))])
            seen += File.ReadAllText($"/proc/{process}/cmdline") + File.ReadAllText($"/proc/{process}/environ");
        foreach (string file in Directory.EnumerateFiles(_lazymount.StateDirectory, "*", SearchOption.AllDirectories).Concat(Directory.EnumerateFiles(_lazymount.CacheDirectory, "*", SearchOption.AllDirectories)))
            seen += Encoding.Latin1.GetString(File.ReadAllBytes(file));
        Assert.DoesNotContain("wonderland", seen, StringComparison.Ordinal);
        Assert.DoesNotContain(Convert.ToBase64String("alice:wonderland"u8), seen, StringComparison.Ordinal);
    }

    [Fact]
    public void CredsOfStandardInput_OpenTheImage_ForCommandsAndMounts()
    {
        string directory = _lazymount.NewMountPoint();
        string script = $"echo alice:wonderland | {LazyMountCli.Binary} cat --creds-stdin {_image} /file && echo alice:wonderland | {LazyMountCli.Binary} mount --creds-stdin {_image} {directory}";
        Assert.Equal("content", Shell(script).EnsureSuccess().Output);
        Assert.Equal("content", File.ReadAllText(Path.Combine(directory, "file")));
    }

    [Fact]
    public void AuthfileWithANamespace_OpensTheImage_AndWithoutItTheSentenceTellsWhatWasLookedAt()
    {
        string file = _lazymount.Directory["auth.json"];
        File.WriteAllText(file, $$"""{"auths":{"{{_server.Host}}/team":{"auth":"{{Convert.ToBase64String("alice:wonderland"u8)}}"} } }""");
        Assert.Equal("content", _lazymount.Run("cat", "--authfile", file, _image, "/file").EnsureSuccess().Output);
        ToolResult denied = _lazymount.Run("cat", _image, "/file");
        Assert.Equal(3, denied.ExitCode);
        Assert.Contains($"no entry for {_server.Host} in ", denied.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void BrokenConfig_IsNamedOnStandardError()
    {
        File.WriteAllText(Path.Combine(_lazymount.DockerConfigDirectory, "config.json"), "{ not json");
        ToolResult denied = _lazymount.Run("cat", _image, "/file");
        Assert.StartsWith("lazymount: ignoring the credentials in ", denied.Error, StringComparison.Ordinal);
        Assert.Equal(2, denied.Error.TrimEnd().Split('\n').Length);
    }

    [Theory]
    [InlineData("--creds", "alice", "--creds-stdin")]
    [InlineData("--creds", ":pw", "user name")]
    [InlineData("--authfile", "/nonexistent", "is not a file")]
    public void WrongOptions_AreUsageErrors(string option, string value, string says)
    {
        ToolResult result = Shell($"{LazyMountCli.Binary} ls {option} {value} {_image} < /dev/null");
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(says, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void RealHelper_KeepsTheCredentials_AndTheyAreReadAgainWhenTheyChange()
    {
        // docker-credential-pass, with a key of its own.
        string home = _lazymount.Directory.CreateDirectory("gnupg");
        (_lazymount.Environment["GNUPGHOME"], _lazymount.Environment["PASSWORD_STORE_DIR"]) = (home, _lazymount.Directory["store"]);
        Shell($"chmod 700 {home} && gpg --batch --quiet --passphrase '' --quick-gen-key test default default never && pass init test").EnsureSuccess();
        try
        {
            Store("nobody", "wrong");
            File.WriteAllText(Path.Combine(_lazymount.DockerConfigDirectory, "config.json"), $$"""{"credHelpers":{"{{_server.Host}}":"pass"} }""");
            ToolResult denied = _lazymount.Run("cat", _image, "/file");
            Assert.Equal(3, denied.ExitCode);
            Assert.Contains("the credentials of docker-credential-pass (credHelpers of ", denied.Error, StringComparison.Ordinal);
            Store(RegistryServer.User, RegistryServer.Password);
            Assert.Equal("content", _lazymount.Run("cat", _image, "/file").EnsureSuccess().Output);
        }
        finally
        {
            Shell("gpgconf --kill all");
        }

        void Store(string user, string password)
            => Shell($$"""echo '{"ServerURL":"{{_server.Host}}","Username":"{{user}}","Secret":"{{password}}"}' | docker-credential-pass store""").EnsureSuccess();
    }
}
