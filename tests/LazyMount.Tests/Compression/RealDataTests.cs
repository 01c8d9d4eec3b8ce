using System.Diagnostics;
using LazyMount.Compression;
using Xunit;

namespace LazyMount.Tests.Compression;

/// <summary>A tar of this machine's files, compressed by the programs that compress layers.</summary>
public sealed class RealDataTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("lazymount-inflate-").FullName;

    [Theory]
    [InlineData("gzip -1")]
    [InlineData("gzip -6")]
    [InlineData("gzip -9")]
    [InlineData("pigz -6")]
    [InlineData("pigz -6 -i -b 128")]
    [InlineData("pigz -0")]
    public void TarMadeByRealPrograms_IsDecodedWholeAndFromEveryCheckpoint(string command)
    {
        Assert.SkipUnless(File.Exists($"/usr/bin/{command.Split(' ')[0]}"), "the program is not installed");
        string tar = Path.Combine(_folder, "layer.tar");
        string blobFile = Path.Combine(_folder, "layer.tar.gz");
        Shell($"tar -C / -cf - etc usr/share/doc usr/bin 2>/dev/null | head -c 6000000 > {tar}; {command} -c {tar} > {blobFile}");
        byte[] data = File.ReadAllBytes(tar);
        byte[] blob = File.ReadAllBytes(blobFile);
        Assert.True(data.Length > 500_000);

        Streams.Verdict whole = Streams.Gzip(blob, 1, 100_000);
        Assert.Null(whole.Error);
        Assert.True(data.AsSpan().SequenceEqual(whole.Output));
        List<Checkpoint> checkpoints = CheckpointTests.Record(blob, 2, 50_000, 500_000);
        Assert.True(checkpoints.Count >= data.Length / 1_000_000);
        Assert.True(CheckpointTests.ResumesEverywhere(blob, data, checkpoints, 3, 50_000));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static void Shell(string script)
    {
        using Process shell = Process.Start("/bin/sh", ["-c", script]);
        shell.WaitForExit();
        Assert.Equal(0, shell.ExitCode);
    }
}
