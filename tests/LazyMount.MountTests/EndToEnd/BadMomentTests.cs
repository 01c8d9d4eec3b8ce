using System.Diagnostics;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Disks that fill up, registries that go away, users who change their mind.</summary>
public sealed class BadMomentTests : IDisposable
{
    private const int MiB = 1 << 20;
    private const int SigInt = 2, SigKill = 9, SigStop = 19;

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
    public async Task StoppedWhileIndexing_HoldsNobodyUpForLong()
    {
        using var proxy = new StallingProxy(_server.Port, bytesUntilStall: 4 * MiB);
        using Tool stopped = _lazymount.Start("ls", $"{proxy.Host}/app:v1");
        await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        stopped.Signal(SigStop);
        // It has the layer's turn. The bound is 20 s, and Run's far more.
        Assert.Contains("middle", _lazymount.Run("ls", _image).EnsureSuccess().Output, StringComparison.Ordinal);
        stopped.Signal(SigKill);
    }

    [Fact]
    public async Task ReadWithoutBytes_FailsAfterTheReadTimeout_AndTheNextOneTriesAnew()
    {
        _lazymount.Run("--no-keep", "ls", _image).EnsureSuccess();
        var proxy = new StallingProxy(_server.Port, bytesUntilStall: 2 * MiB);
        try
        {
            string directory = _lazymount.Mount($"{proxy.Host}/app:v1", "--read-timeout", "1.5s");
            string middle = Path.Combine(directory, "middle");
            long began = Stopwatch.GetTimestamp();
            await Assert.ThrowsAsync<IOException>(() => File.ReadAllBytesAsync(middle, TestContext.Current.CancellationToken));
            Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 1, 15); // the registry's own time-outs are longer
            Assert.Contains("--read-timeout", File.ReadAllText(Assert.Single(Directory.GetFiles(_lazymount.StateDirectory, "*.log", SearchOption.AllDirectories))), StringComparison.Ordinal);

            int port = proxy.Port;
            proxy.Dispose();
            proxy = new StallingProxy(_server.Port, bytesUntilStall: long.MaxValue, port);
            Assert.Equal(Noise(2, 8 * MiB), await File.ReadAllBytesAsync(middle, TestContext.Current.CancellationToken));
        }
        finally
        {
            proxy.Dispose();
        }
    }

    [Fact]
    public async Task StoppedWhileFetching_HoldsNoReaderUpForLong()
    {
        _lazymount.Run("--no-keep", "ls", _image).EnsureSuccess();
        using var proxy = new StallingProxy(_server.Port, bytesUntilStall: 2 * MiB);
        using Tool stopped = _lazymount.Start("cat", $"{proxy.Host}/app:v1", "/middle");
        await proxy.Stalled.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        stopped.Signal(SigStop);
        string directory = _lazymount.Mount(_image);
        Assert.Equal(Noise(2, 8 * MiB), await File.ReadAllBytesAsync(Path.Combine(directory, "middle"), TestContext.Current.CancellationToken));
        stopped.Signal(SigKill);
    }

    [Fact]
    public void FilesThatAnotherUserHasLocked_AreReadAllTheSame()
    {
        string layout = _lazymount.Directory["layout"];
        string directory = _lazymount.Mount($"oci:{layout}:v1");
        List<Tool> others = [];
        try
        {
            foreach (string file in Directory.EnumerateFiles(layout, "*", SearchOption.AllDirectories).ToArray())
                others.Add(FileLock.Hold(file));
            Assert.Equal(Noise(2, 8 * MiB), File.ReadAllBytes(Path.Combine(directory, "middle")));
            Assert.Equal(Noise(3, 64 << 10), _lazymount.Run("cat", $"oci:{layout}:v1", "/last").EnsureSuccess().OutputBytes);
        }
        finally
        {
            others.ForEach(other => other.Dispose());
        }
    }

    [Fact]
    public void LayerThatIsEncodedAgain_StaysWithinTheCacheLimit()
    {
        // 300 MiB of tar in some 2 MiB of xz.
        string tar = _lazymount.Directory["tar"], layout = _lazymount.Directory["xz"];
        File.WriteAllBytes(_lazymount.Directory["noise"], Noise(4, 2 * MiB));
        Tool.Shell("cd \"$1\" && for i in $(seq 150); do cat noise; done > f && tar -cf tar f && rm f && xz -T1 -1 --lzma2=preset=1,dict=4MiB -f tar", _lazymount.Directory.Path).EnsureSuccess();
        new OciLayoutBuilder(layout).AddLayer(File.ReadAllBytes(tar + ".xz"), "application/vnd.oci.image.layer.v1.tar+xz", "").WriteImage("v1");
        using Tool ls = _lazymount.Start("--cache-limit", "32M", "ls", $"oci:{layout}:v1");
        long most = 0;
        while (!ls.HasExited)
        {
            most = Math.Max(most, new DirectoryInfo(_lazymount.CacheDirectory) is { Exists: true } cache ? SizeOf(cache) : 0);
            Thread.Sleep(2);
        }
        ToolResult result = ls.WaitForExit();
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("raise --cache-limit", result.Error, StringComparison.Ordinal);
        Assert.InRange(most, 8 * MiB, 38 * MiB);
        Assert.Empty(CacheFiles.Unfinished(_lazymount));

        static long SizeOf(DirectoryInfo directory)
        {
            try
            {
                return directory.EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Exists ? file.Length : 0);
            }
            catch (IOException)
            {
                return 0; // a file came or went
            }
        }
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
