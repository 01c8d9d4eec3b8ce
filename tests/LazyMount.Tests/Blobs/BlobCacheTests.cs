using System.Diagnostics;
using System.Runtime.Versioning;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging.Abstractions;
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
    public void CachedBytes_CountEachChunkOnce_WhateverItsScope()
    {
        const int ChunkSize = ChunkDigests.DefaultChunkSize;
        byte[] content = TestImage.RandomBytes((70 * ChunkSize) + 100, 3);
        Descriptor blob = TestImage.DescriptorOf(content);
        Assert.Equal(0, _cache.CachedBytes(blob));
        using var shared = new ChunkStore(_cache, blob, ChunkSize, NullLogger.Instance);
        using var scoped = new ChunkStore(_cache, blob, ChunkSize, NullLogger.Instance, ChunkScope.Of("somebody"));
        Keep(shared, 0);
        Keep(scoped, 0);
        Keep(scoped, 65);
        Keep(shared, 70); // the last, which is shorter
        Assert.Equal((2 * ChunkSize) + 100, _cache.CachedBytes(blob));
        Assert.False(_cache.HasAll(blob));
        for (int chunk = 0; chunk < 70; chunk++)
            Keep(shared, chunk);
        Assert.Equal(content.Length, _cache.CachedBytes(blob));
        Assert.True(_cache.HasAll(blob));

        void Keep(ChunkStore store, int chunk) => store.Keep(chunk, content.AsSpan(chunk * ChunkSize, Math.Min(ChunkSize, content.Length - (chunk * ChunkSize))));
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
        string old = Path.Combine(BlobDirectory, ".lazymount-a.staging");
        string young = Path.Combine(BlobDirectory, ".lazymount-b.staging");
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
    public void RootThatTakesNoDirectory_IsToldAsThat()
    {
        var e = Assert.Throws<ImageException>(() => new BlobCache("/proc/lazymount-test"));
        Assert.Equal("cannot make the cache directory '/proc/lazymount-test': No such file or directory; choose another directory with --cache-dir", e.Message);
    }

    [Fact]
    public void CacheThatMayNotBeWritten_IsAMatterOfPermission_NotOfSpace()
    {
        string Of(Exception e) => _cache.Failure("keep 5 bytes", e).Message;
        Assert.Equal($"cannot keep 5 bytes in the cache '{_cache.Root}': Permission denied; get permission to write to it, or choose another directory with --cache-dir",
            Of(new UnauthorizedAccessException("Access to the path is denied.", new IOException("Permission denied", 13))));
        Assert.Equal($"cannot keep 5 bytes in the cache '{_cache.Root}': No space left on device; free some space there, or choose another directory with --cache-dir",
            Of(new IOException("No space left on device : '/x'", 28)));
        Assert.Equal($"cannot keep 5 bytes in the cache '{_cache.Root}': Read-only file system; choose another directory with --cache-dir",
            Of(new IOException("Read-only file system : '/x'", 30)));
    }

    [Fact]
    public void DirectoryOfAnotherUser_OrOneThatOthersMayWriteTo_IsRefused()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root to give directories away");
        foreach (string victim in (string[])[_cache.Root, Path.Combine(_cache.Root, "v1")])
        {
            foreach ((string command, string undo, string reason) in ((string, string, string)[])[
                ("chown 65534 $1", "chown 0 $1", "it belongs to user 65534, who could change"),
                ("chmod 777 $1", "chmod 700 $1", "others may write to it (mode 777); run chmod go-w")])
            {
                Run("bash", "-c", command, "bash", victim);
                var e = Assert.Throws<ImageException>(() => new BlobCache(_cache.Root));
                Assert.StartsWith($"cannot use the cache directory '{victim}': {reason}", e.Message, StringComparison.Ordinal);
                Assert.EndsWith(" choose another directory with --cache-dir", e.Message, StringComparison.Ordinal);
                Run("bash", "-c", undo, "bash", victim);
            }
        }
        _ = new BlobCache(_cache.Root);
    }

    [Fact]
    public void DirectoryThatTheUserMade_KeepsItsMode_AndWhatIsInItIsTheirsAlone()
    {
        string root = Directory.CreateDirectory(Path.Combine(_directory.Path, "made")).FullName;
        File.SetUnixFileMode(root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        UnixFileMode mode = File.GetUnixFileMode(root);
        for (int i = 0; i < 2; i++)
        {
            new BlobCache(root).Keep(_blob, _content);
            Assert.Equal(mode, File.GetUnixFileMode(root));
            foreach (string level in (string[])["v1", "v1/blobs", "v1/blobs/sha256"])
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Path.Combine(root, level)));
            File.SetUnixFileMode(Path.Combine(root, "v1"), mode); // as older versions made it
            if (i == 0)
                continue;
            _ = new BlobCache(root);
            Assert.NotEqual(mode, File.GetUnixFileMode(Path.Combine(root, "v1")));
        }
    }

    [Fact]
    public void RootWhoseNameIsNotUtf8_IsUsedAndNoOther()
    {
        string root = Path.Combine(_directory.Path, LazyMount.Blobs.Files.PathText.Decode([(byte)'c', 0xE9]));
        new BlobCache(root).Keep(_blob, _content);
        Assert.Equal(_content, new BlobCache(root).TryRead(_blob.Digest, 5000));
        Run("bash", "-c", "test -e \"$1/\"$'c\\xe9/v1/blobs/sha256/'$2", "bash", _directory.Path, _blob.Digest.Hex);
        Assert.Equal(2, Directory.GetFileSystemEntries(_directory.Path).Length); // the other cache, and this
    }

    [Fact]
    public async Task CacheThatIsDeletedAgainAndAgain_FailsNobody()
    {
        using var end = new CancellationTokenSource();
        string root = _cache.Root;
        Task deleting = Task.Run(() =>
        {
            while (!end.IsCancellationRequested)
            {
                using Process removing = Process.Start("sh", ["-c", "rm -rf \"$1\" 2>/dev/null", "sh", root]);
                removing.WaitForExit(); // what is made meanwhile may make it fail
            }
        }, TestContext.Current.CancellationToken);
        for (int i = 0; i < 300; i++)
        {
            _cache.Keep(_blob, _content);
            _ = _cache.GetDirectory("layers");
        }
        await end.CancelAsync();
        await deleting;
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
            // A document is asked for again instead: a mount that goes on must not need the disk.
            File.WriteAllBytes(Path.Combine(mount, "filler"), new byte[(1 << 20) - (64 << 10)]);
            byte[] document = new byte[128 << 10];
            cache.Keep(TestImage.DescriptorOf(document), document);
            Assert.Null(cache.TryRead(TestImage.DescriptorOf(document).Digest, document.Length));
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
