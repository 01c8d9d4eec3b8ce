using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Disks that fill up, registries that go away, users who change their mind.</summary>
public sealed class BadMomentTests : IDisposable
{
    private const int MiB = 1 << 20;
    private const int SigInt = 2;

    private readonly RegistryServer _server = new();
    private readonly LazyMountCli _lazymount = new();
    private readonly string _image;
    private readonly string _layer;

    public BadMomentTests()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("first", Noise(1, 64 << 10)).File("middle", Noise(2, 8 * MiB)).File("last", Noise(3, 64 << 10)));
        _layer = layout.WriteImage("v1")[0];
        _image = Skopeo.Push(layout.Reference("v1"), _server, "app:v1");
    }

    public void Dispose()
    {
        _lazymount.Dispose();
        _server.Dispose();
    }

    [Fact]
    public void DiskFullWhileCaching_CostsOnlyWhatWouldHaveBeenKept()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root, to make a small file system");
        string small = _lazymount.Directory.CreateDirectory("small");
        Tool.Run("mount", "-t", "tmpfs", "-o", "size=2m", "none", small).EnsureSuccess();
        try
        {
            _lazymount.CacheDirectory = Path.Combine(small, "cache");
            string directory = _lazymount.NewMountPoint();
            _lazymount.Run("mount", _image, directory).EnsureSuccess();
            Assert.Equal(Noise(2, 8 * MiB), File.ReadAllBytes(Path.Combine(directory, "middle")));
            Assert.Empty(CacheFiles.Unfinished(_lazymount));
            _lazymount.Run("umount", directory).EnsureSuccess();
        }
        finally
        {
            Tool.Run("umount", "--lazy", small);
        }
    }

    [Theory]
    [InlineData("-f")]
    [InlineData("--verbose")]
    public async Task CtrlCWhileIndexing_EndsWithNothingHalfWritten(string option)
    {
        using var proxy = new StallingProxy(_server.Port, bytesUntilStall: 4 * MiB);
        string directory = _lazymount.NewMountPoint();
        using Tool mount = _lazymount.Start("mount", option, $"{proxy.Host}/app:v1", directory);
        await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);

        mount.Signal(SigInt);
        ToolResult result = mount.WaitForExit(TimeSpan.FromSeconds(30));

        Assert.Equal(128 + SigInt, result.ExitCode);
        Assert.DoesNotContain("Exception", result.Error, StringComparison.Ordinal);
        Assert.False(LazyMountCli.IsMounted(directory));
        Assert.Empty(LazyMountCli.DaemonsOf(directory));
        Assert.Empty(CacheFiles.Unfinished(_lazymount));
        Assert.Empty(CacheFiles.Indexes(_lazymount, _layer));

        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        Assert.Equal(Noise(3, 64 << 10), await File.ReadAllBytesAsync(Path.Combine(directory, "last"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task KilledWhileIndexing_LeavesNothingThatTheNextRunTrusts()
    {
        using var proxy = new StallingProxy(_server.Port, bytesUntilStall: 4 * MiB);
        string directory = _lazymount.NewMountPoint();
        using (Tool mount = _lazymount.Start("mount", "-f", $"{proxy.Host}/app:v1", directory))
        {
            await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
            // disposing kills it
        }
        _lazymount.Run("mount", _image, directory).EnsureSuccess();
        Assert.Equal(Noise(2, 8 * MiB), await File.ReadAllBytesAsync(Path.Combine(directory, "middle"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void RegistryGoneAfterMounting_CachedDataStillReads()
    {
        string directory = _lazymount.Mount(_image);
        _server.Stop();
        Assert.Equal(Noise(1, 64 << 10), File.ReadAllBytes(Path.Combine(directory, "first")));
        Assert.Equal(Noise(2, 8 * MiB), File.ReadAllBytes(Path.Combine(directory, "middle")));
    }

    [Fact]
    public void RegistryGoneAfterMounting_WhatIsNotCachedGivesEioAndTheRestGoesOn()
    {
        _lazymount.Run("umount", _lazymount.Mount(_image)).EnsureSuccess();
        foreach (string chunk in CacheFiles.Chunks(_lazymount, _layer))
        {
            File.Delete(chunk);
        }
        // The index is there, the blob is not: what is read comes by range requests.
        string directory = _lazymount.Mount(_image);
        Assert.Equal(Noise(1, 64 << 10), File.ReadAllBytes(Path.Combine(directory, "first")));
        _server.Stop();

        ToolResult lost = Tool.Run("cat", Path.Combine(directory, "last"));
        Assert.NotEqual(0, lost.ExitCode);
        Assert.Contains("Input/output error", lost.Error, StringComparison.Ordinal);

        // The tree is in memory, what was read is cached.
        Assert.Equal(3, Directory.GetFiles(directory).Length);
        Tool.Run("dd", $"if={Path.Combine(directory, "first")}", "iflag=nocache", "count=0").EnsureSuccess(); // out of the kernel's page cache
        Assert.Equal(Noise(1, 64 << 10), File.ReadAllBytes(Path.Combine(directory, "first")));

        _server.Start();
        Assert.Equal(Noise(3, 64 << 10), File.ReadAllBytes(Path.Combine(directory, "last")));
    }

    [Fact]
    public void CacheDeletedWhileMounted_MountGoesOn()
    {
        string directory = _lazymount.Mount(_image);
        Directory.Delete(_lazymount.CacheDirectory, recursive: true);
        Assert.Equal(Noise(2, 8 * MiB), File.ReadAllBytes(Path.Combine(directory, "middle")));
    }

    [Fact]
    public void BlobDamagedInTheCache_IsFetchedAgainOrRefusedButNeverShown()
    {
        _lazymount.Run("umount", _lazymount.Mount(_image)).EnsureSuccess();
        foreach (string segment in CacheFiles.Chunks(_lazymount, _layer))
        {
            foreach (int chunk in CacheSegment.Present(segment))
            {
                CacheSegment.Flip(segment, chunk, CacheSegment.LengthOf(segment, chunk) / 2, rehash: false);
            }
        }

        string directory = _lazymount.Mount(_image);
        Assert.Equal(Noise(2, 8 * MiB), File.ReadAllBytes(Path.Combine(directory, "middle")));
    }

    [Fact]
    public void DamagedLayerIndex_IsRebuilt()
    {
        _lazymount.Run("umount", _lazymount.Mount(_image)).EnsureSuccess();
        foreach (string index in CacheFiles.Indexes(_lazymount, _layer))
        {
            byte[] bytes = File.ReadAllBytes(index);
            bytes.AsSpan(bytes.Length / 2).Fill(0xA5);
            File.WriteAllBytes(index, bytes);
        }
        Assert.Equal(Noise(3, 64 << 10), File.ReadAllBytes(Path.Combine(_lazymount.Mount(_image), "last")));
    }

    private static byte[] Noise(int seed, int length)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
