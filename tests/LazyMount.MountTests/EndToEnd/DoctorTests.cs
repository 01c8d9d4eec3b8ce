using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`doctor` on this machine, and where something is missing.</summary>
public sealed class DoctorTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void OnAMachineWhereMountsWork_NothingIsMissing()
    {
        ToolResult result = _lazymount.Run("doctor").EnsureSuccess();
        Assert.DoesNotContain("missing", result.Output, StringComparison.Ordinal);
        Assert.Contains(_lazymount.CacheDirectory, result.Output, StringComparison.Ordinal);
        Assert.Contains("/dev/fuse can be opened", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutTheDevice_ItSaysHowToGetIt_AndFails()
    {
        // In a mount namespace whose /dev has no fuse.
        ToolResult result = Tool.Shell("unshare --mount sh -c 'mount -t tmpfs none /dev && : > /dev/null && exec \"$@\"' sh \"$@\"", LazyMountCli.Binary, "--cache-dir", _lazymount.CacheDirectory, "doctor");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("missing  fuse", result.Output, StringComparison.Ordinal);
        Assert.Contains("modprobe fuse", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Credentials_AreCounted_AndNeverShown()
    {
        string file = _lazymount.Directory["auth.json"];
        File.WriteAllText(file, """{"auths":{"registry.example":{"auth":"bWU6aHVudGVyMg=="}},"credHelpers":{"other.example":"pass"}}""");
        ToolResult result = _lazymount.Run("--authfile", file, "doctor", "--json").EnsureSuccess();
        Assert.DoesNotContain("hunter2", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("bWU6aHVudGVyMg", result.Output, StringComparison.Ordinal);
        string detail = JsonDocument.Parse(result.Output).RootElement.EnumerateArray().Single(check => check.GetProperty("check").GetString() == "credentials").GetProperty("detail").GetString()!;
        Assert.Contains("2 registries (registry.example, other.example)", detail, StringComparison.Ordinal);
        Assert.Contains("docker-credential-pass", detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Proxy_IsShownWithoutItsLogin()
    {
        ToolResult result = Tool.Shell("HTTPS_PROXY=http://me:hunter2@proxy.example:3128 exec \"$@\"", LazyMountCli.Binary, "--cache-dir", _lazymount.CacheDirectory, "doctor").EnsureSuccess();
        Assert.Contains("https: proxy.example:3128 (HTTPS_PROXY)", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void UnusableCache_IsNamed()
    {
        string file = _lazymount.Directory["file"];
        File.WriteAllText(file, "");
        ToolResult result = _lazymount.Run("--cache-dir", file, "doctor");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains($"missing  cache", result.Output, StringComparison.Ordinal);
        Assert.Contains(file, result.Output, StringComparison.Ordinal);
    }
}
