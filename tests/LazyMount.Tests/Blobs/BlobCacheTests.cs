using System.Diagnostics;
using System.Runtime.Versioning;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace LazyMount.Tests.Blobs;

[SupportedOSPlatform("linux")]
public sealed class BlobCacheTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly BlobCache _cache;
    private readonly byte[] _content = TestImage.RandomBytes(5000, 1);
    private readonly Descriptor _blob;

    public BlobCacheTests()
    {
        _cache = new BlobCache(Path.Combine(_directory.Path, "cache"));
        _blob = TestImage.DescriptorOf(_content);
    }

    private string BlobDirectory => Path.Combine(_cache.Root, "v1", "blobs", "sha256");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void CommittedBlob_IsThereUnderItsDigest_ForItsOwnerOnly()
    {
        Assert.Null(_cache.TryOpen(_blob.Digest));
        using (BlobStaging staging = _cache.Stage(_blob))
        {
            staging.Append(_content.AsSpan(0, 1234));
            staging.Append(_content.AsSpan(1234));
            Assert.Null(_cache.TryOpen(_blob.Digest));
            staging.Commit();
            Assert.Equal(_content, _cache.TryRead(_blob.Digest, 5000));
        }
        using SafeFileHandle file = _cache.TryOpen(_blob.Digest)!;
        Assert.Equal(_content.Length, RandomAccess.GetLength(file));
        Assert.Equal([_blob.Digest.Hex], Directory.GetFiles(BlobDirectory).Select(Path.GetFileName));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(BlobDirectory, _blob.Digest.Hex)));
        foreach (string directory in (string[])[_cache.Root, BlobDirectory, _cache.GetDirectory("layers")])
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(directory));
    }

    [Fact]
    public void Sha512Blob_IsKeptBesideTheOthers()
    {
        Digest digest = TestDigest.Parse("sha512:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA512.HashData(_content)));
        _cache.Keep(new Descriptor("", digest, _content.Length), _content);
        Assert.Equal(_content, _cache.TryRead(digest, 5000));
    }

    [Fact]
    public void AbandonedStaging_LeavesNothing()
    {
        using (BlobStaging staging = _cache.Stage(_blob))
            staging.Append(_content.AsSpan(0, 10));
        Assert.Empty(Directory.GetFiles(BlobDirectory));
    }

    [Fact]
    public void IncompleteOrOverlongBlob_IsNotPublished()
    {
        using BlobStaging staging = _cache.Stage(_blob);
        staging.Append(_content.AsSpan(1));
        Assert.Throws<InvalidOperationException>(staging.Commit);
        Assert.Throws<InvalidOperationException>(() => staging.Append(new byte[2]));
        Assert.Null(_cache.TryOpen(_blob.Digest));
    }

    [Fact]
    public void TwoStagingsOfOneBlob_DoNotMeet()
    {
        using BlobStaging one = _cache.Stage(_blob);
        using BlobStaging two = _cache.Stage(_blob);
        one.Append(_content);
        two.Append(_content.AsSpan(0, 100));
        one.Commit();
        two.Append(_content.AsSpan(100));
        two.Commit();
        Assert.Equal(_content, _cache.TryRead(_blob.Digest, 5000));
        Assert.Single(Directory.GetFiles(BlobDirectory));
    }

    [Fact]
    public void CorruptOrTooLargeFile_ReadsAsAbsent()
    {
        _cache.Keep(_blob, _content);
        Assert.Null(_cache.TryRead(_blob.Digest, 4999));
        string path = Path.Combine(BlobDirectory, _blob.Digest.Hex);
        _content[77] ^= 1;
        File.WriteAllBytes(path, _content);
        Assert.Null(_cache.TryRead(_blob.Digest, 5000));
    }

    [Fact]
    public void DirectoryDeletedUnderUs_IsMadeAgain()
    {
        _cache.Keep(_blob, _content);
        using BlobStaging staging = _cache.Stage(_blob);
        staging.Append(_content);
        Directory.Delete(_cache.Root, recursive: true);
        staging.Commit();
        Assert.Null(_cache.TryOpen(_blob.Digest));
        _cache.Keep(_blob, _content);
        Assert.Equal(_content, _cache.TryRead(_blob.Digest, 5000));
        Assert.True(Directory.Exists(_cache.GetDirectory("layers")));
    }

    [Fact]
    public async Task KilledWritersFile_IsSweptWhenOld_AndALivingOnesIsNot()
    {
        using BlobStaging living = _cache.Stage(_blob);
        string livingPath = Assert.Single(Directory.GetFiles(BlobDirectory));
        string old = Path.Combine(BlobDirectory, "aa.1.x.staging");
        string young = Path.Combine(BlobDirectory, "bb.1.x.staging");
        foreach (string path in (string[])[old, young])
            await File.WriteAllTextAsync(path, "left behind", TestContext.Current.CancellationToken);
        foreach (string path in (string[])[old, livingPath])
            File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddHours(-1));

        new BlobCache(_cache.Root).Keep(_blob, _content);

        Assert.False(File.Exists(old));
        Assert.True(File.Exists(young));
        Assert.True(File.Exists(livingPath));
    }

    [Fact]
    public void UnusableRoot_SaysWhichAndWhatToDo()
    {
        string file = Path.Combine(_directory.Path, "file");
        File.WriteAllText(file, "");
        var e = Assert.Throws<ImageException>(() => new BlobCache(Path.Combine(file, "cache")));
        Assert.Equal(ImageError.Local, e.Error);
        Assert.Contains(file, e.Message, StringComparison.Ordinal);
        Assert.Contains("--cache-dir", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FullDisk_SaysSoBeforeTheBlobIsFetched()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root to mount a small tmpfs");
        string mount = Directory.CreateDirectory(Path.Combine(_directory.Path, "small")).FullName;
        Run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount);
        try
        {
            var cache = new BlobCache(Path.Combine(mount, "cache"));
            byte[] large = new byte[2 << 20];
            var e = Assert.Throws<ImageException>(() => cache.Stage(TestImage.DescriptorOf(large)));
            Assert.Equal(ImageError.Local, e.Error);
            Assert.Contains("free some space there, or choose another directory with --cache-dir", e.Message, StringComparison.Ordinal);
            Assert.Empty(Directory.GetFiles(Path.Combine(cache.Root, "v1", "blobs", "sha256")));
        }
        finally
        {
            Run("umount", mount);
        }
    }

    private static void Run(string command, params string[] arguments)
    {
        using Process process = Process.Start(command, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
