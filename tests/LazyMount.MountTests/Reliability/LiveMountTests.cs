using System.Text;
using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Reliability;

/// <summary>What happens to a mount that lives longer than its passwords, tokens and signed URLs, and than the registry's process.</summary>
public sealed class LiveMountTests : IDisposable
{
    private const int MiB = 1 << 20, Files = 12;
    private const string User = "alice", OldPassword = "wonderland", NewPassword = "looking glass";

    private readonly LazyMountCli _lazymount = new();
    private readonly OciLayoutBuilder _layout;

    public LiveMountTests()
    {
        _layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        var tar = new TarBytes();
        for (int number = 0; number < Files; number++)
        {
            tar.File($"file{number}", Content(number));
        }
        _layout.AddLayer(tar).WriteImage("v1");
    }

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void PasswordChanged_ReadsGoOnOnceTheConfigurationHasTheNewOne()
    {
        using var registry = new RegistryServer(new RegistrySettings { Users = Users(OldPassword) });
        string mount = Mount(registry, registry.Host, OldPassword);
        AssertReads(mount, 0);

        registry.SetPassword(User, NewPassword);
        AssertFails(mount, 4); // nobody has told us

        WriteConfiguration(registry.Host, Login(NewPassword));
        AssertReads(mount, 4);
        AssertReads(mount, 8);
    }

    [Fact]
    public void PasswordAndTokensChanged_ReadsGoOnOnceTheConfigurationHasTheNewOne()
    {
        using var tokens = new TokenServer();
        tokens.SetPassword(User, OldPassword);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        string mount = Mount(registry, registry.Host, OldPassword);
        AssertReads(mount, 0);

        tokens.SetPassword(User, NewPassword);
        AssertReads(mount, 4); // the token is good all the same
        tokens.RotateKey();
        registry.Restart();
        AssertFails(mount, 8);

        WriteConfiguration(registry.Host, Login(NewPassword));
        AssertReads(mount, 8);
        Assert.Contains(tokens.Requests, request => request is { Grant: "basic", User: User, Status: 401 });
    }

    [Fact]
    public void IdentityTokenChanged_ReadsGoOnOnceTheConfigurationHasTheNewOne()
    {
        using var tokens = new TokenServer();
        tokens.SetPassword(User, OldPassword);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_layout.Reference("v1"), registry, "app:v1", $"{User}:{OldPassword}");
        WriteConfiguration(registry.Host, new { auth = Auth(""), identitytoken = tokens.NewRefreshToken(User) });
        string mount = _lazymount.Mount($"{registry.Host}/app:v1", "--no-keep");
        AssertReads(mount, 0);

        tokens.RevokeRefreshTokens();
        tokens.RotateKey();
        registry.Restart();
        AssertFails(mount, 4);

        WriteConfiguration(registry.Host, new { auth = Auth(""), identitytoken = tokens.NewRefreshToken(User) });
        AssertReads(mount, 4);
        Assert.Contains(tokens.Requests, request => request is { Grant: "refresh_token", Status: 200 });
    }

    [Fact]
    public void TokensThatLiveShortly_AreRenewedBeforeTheyExpire()
    {
        using var tokens = new TokenServer { AllowsAnonymousPull = true };
        tokens.SetPassword(User, OldPassword);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_layout.Reference("v1"), registry, "app:v1", $"{User}:{OldPassword}");
        tokens.Lifetime = TimeSpan.FromSeconds(4);
        string mount = _lazymount.Mount($"{registry.Host}/app:v1", "--no-keep");
        AssertAllRead(mount, TimeSpan.FromSeconds(12));
        Assert.InRange(tokens.Requests.Count(request => request is { Grant: "anonymous", Status: 200 }), 3, 15);
    }

    [Fact]
    public void TokensThatDieBeforeTheirTime_AreRenewedWhenTheyAreRefused()
    {
        using var tokens = new TokenServer { AllowsAnonymousPull = true };
        tokens.SetPassword(User, OldPassword);
        using var registry = new RegistryServer(new RegistrySettings { Tokens = tokens });
        Skopeo.Push(_layout.Reference("v1"), registry, "app:v1", $"{User}:{OldPassword}");
        (tokens.Lifetime, tokens.ClaimedLifetime) = (TimeSpan.FromSeconds(3), TimeSpan.FromHours(1));
        string mount = _lazymount.Mount($"{registry.Host}/app:v1", "--no-keep");
        AssertAllRead(mount, TimeSpan.FromSeconds(12));
        Assert.InRange(tokens.Requests.Count(request => request is { Grant: "anonymous", Status: 200 }), 3, 15);
    }

    [Fact]
    public void SignedUrls_AreReusedUntilTheyExpire()
    {
        using var registry = new RegistryServer(new RegistrySettings { Users = Users(OldPassword) });
        using var redirector = new BlobRedirector(registry) { Lifetime = TimeSpan.FromSeconds(2) };
        string mount = Mount(registry, redirector.Host, OldPassword);
        int redirected = redirector.Redirected;
        AssertAllRead(mount, TimeSpan.FromSeconds(8));
        Assert.True(redirector.Expired > 0, "no URL was used after its time, so nothing was tested");
        Assert.True(redirector.Redirected > redirected);
        Assert.Equal((0, 0), (redirector.Refused, redirector.WithSecrets));
    }

    [Fact]
    public void SignedUrls_ThatLast_AreAskedForOnce()
    {
        using var registry = new RegistryServer(new RegistrySettings { Users = Users(OldPassword) });
        using var redirector = new BlobRedirector(registry);
        string mount = Mount(registry, redirector.Host, OldPassword);
        AssertAllRead(mount, TimeSpan.Zero);
        // The config, the layer, and whoever came at the same time.
        Assert.InRange(redirector.Redirected, 1, 6);
        Assert.True(redirector.Served > redirector.Redirected);
        Assert.Equal((0, 0), (redirector.Refused, redirector.WithSecrets));
    }

    [Fact]
    public void RegistryRestartedWhileCatReads_CatGetsEveryByte()
    {
        using var registry = new RegistryServer();
        string mount = Mount(registry, registry.Host, OldPassword);
        // A reader that takes its time: the pipe fills, and cat waits.
        string output = _lazymount.Directory["output"];
        using Tool cat = Tool.Start("bash", ["-c", "cat \"$1\"/file* | { head -c 3000000; sleep 3; cat; } >\"$2\"; exit ${PIPESTATUS[0]}", "bash", mount, output]);
        while (!File.Exists(output) || new FileInfo(output).Length < 3_000_000)
        {
            Assert.False(cat.HasExited && new FileInfo(output).Length < 3_000_000);
            Thread.Sleep(20);
        }
        registry.Stop();
        Thread.Sleep(1000);
        registry.Start();
        cat.WaitForExit().EnsureSuccess();
        // In the order of the shell's pattern.
        byte[] expected = [.. Enumerable.Range(0, Files).OrderBy(number => $"file{number}", StringComparer.Ordinal).SelectMany(Content)];
        Assert.True(expected.AsSpan().SequenceEqual(File.ReadAllBytes(output)));
    }

    private string Mount(RegistryServer registry, string host, string password)
    {
        Skopeo.Push(_layout.Reference("v1"), registry, "app:v1", $"{User}:{password}");
        WriteConfiguration(host, Login(password));
        return _lazymount.Mount($"{host}/app:v1", "--no-keep", "--read-timeout", "20s");
    }

    private void AssertAllRead(string mount, TimeSpan during)
    {
        for (int number = 0; number < Files; number++)
        {
            AssertReads(mount, number);
            Thread.Sleep(during / Files);
        }
    }

    private static void AssertReads(string mount, int number)
        => Assert.True(Tool.Run("cat", $"{mount}/file{number}").EnsureSuccess().OutputBytes.AsSpan().SequenceEqual(Content(number)));

    private static void AssertFails(string mount, int number)
    {
        ToolResult result = Tool.Run("cat", $"{mount}/file{number}");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("Input/output error", result.Error, StringComparison.Ordinal);
    }

    private void WriteConfiguration(string host, object entry)
        => File.WriteAllText(Path.Combine(_lazymount.DockerConfigDirectory, "config.json"), JsonSerializer.Serialize(new { auths = new Dictionary<string, object> { [host] = entry } }));

    private static object Login(string password) => new { auth = Auth(password) };

    private static string Auth(string password) => Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{password}"));

    private static Dictionary<string, string> Users(string password) => new() { [User] = password };

    // Larger than a span and what is read ahead, so that the next file is not there yet.
    private static byte[] Content(int number)
    {
        byte[] content = new byte[6 * MiB];
        new Random(number).NextBytes(content);
        return content;
    }
}
