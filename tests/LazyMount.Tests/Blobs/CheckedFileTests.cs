using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class CheckedFileTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private string File => Path.Combine(_directory.Path, "file");

    private byte[] Write(int length)
    {
        byte[] data = new byte[length];
        new Random(length).NextBytes(data);
        using var stream = new FileStream(File, FileMode.Create);
        using var writer = new CheckedFile.Writer(stream);
        foreach (byte[] piece in data.Chunk(70_001))
            writer.Write(piece);
        Assert.Equal(length, writer.Length);
        Assert.Equal(Digest.OfSha256(data), writer.Finish());
        return data;
    }

    private static byte[] Block(CheckedFile file, int number)
    {
        byte[] block = new byte[Math.Min(4096, file.Length - (number * 4096))];
        file.Read(number * 4096, block);
        return block;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4096)]
    [InlineData(262_144)]
    [InlineData(5_000_000)] // more blocks than one block has checksums of
    public void WhatIsWritten_IsRead(int length)
    {
        byte[] data = Write(length);
        using CheckedFile file = CheckedFile.TryOpen(File, 16)!;
        using var memory = new CheckedFile(data);
        byte[] read = new byte[length];
        file.Read(0, read);

        Assert.Equal(data, read);
        Assert.Equal((length, Digest.OfSha256(data)), (file.Length, file.Digest));
        Assert.Equal((length, Digest.OfSha256(data)), (memory.Length, memory.Digest));
        for (int block = 0; block * 4096 < length; block++)
        {
            Assert.Equal(Block(memory, block), Block(file, block));
            Assert.Equal(Block(memory, block), Block(file, block)); // from the cache, if it has one
        }
        foreach (CheckedFile either in (CheckedFile[])[file, memory])
        {
            Assert.Throws<InvalidDataException>(() => either.Read(length, new byte[1]));
            Assert.Throws<InvalidDataException>(() => either.Read(-1, new byte[1]));
            Assert.Throws<InvalidDataException>(() => either.Read(0, new byte[length + 1]));
        }
    }

    [Fact]
    public void EveryChangedBit_IsNoticed_AndTheFileDeleted()
    {
        Write(5_000_000);
        byte[] good = System.IO.File.ReadAllBytes(File);
        var random = new Random(7);
        for (int i = 0; i < 300; i++)
        {
            byte[] bad = [.. good];
            int at = i < 80 ? good.Length - 1 - i : random.Next(good.Length);
            bad[at] ^= (byte)(1 << random.Next(8));
            System.IO.File.WriteAllBytes(File, bad);
            using CheckedFile? file = CheckedFile.TryOpen(File, 16);
            if (file is not null)
                Assert.Equal(ImageError.Local, Assert.Throws<ImageException>(() => file.Read(0, new byte[5_000_000])).Error);
            Assert.False(System.IO.File.Exists(File));
        }
    }

    [Fact]
    public void AFileThatIsCutWhileItIsRead_FailsAndIsDeleted()
    {
        byte[] data = Write(100_000);
        using CheckedFile file = CheckedFile.TryOpen(File, 16)!;
        _ = Block(file, 0);
        using (FileStream cut = System.IO.File.OpenWrite(File))
            cut.SetLength(8192);

        Assert.Equal(data[..4096], Block(file, 0)); // in memory
        ImageException failure = Assert.Throws<ImageException>(() => Block(file, 10));
        Assert.Contains(File, failure.Message, StringComparison.Ordinal);
        Assert.False(System.IO.File.Exists(File));
    }

    /// <summary>Whoever finds the damage deletes the damaged file, not the one that another process has put in its place.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFileThatTookItsPlaceMeanwhile_Stays(bool isInMemory)
    {
        Write(100_000);
        int most = CheckedFile.MostOpen;
        try
        {
            CheckedFile.MostOpen = isInMemory ? 0 : most;
            using CheckedFile file = CheckedFile.TryOpen(File, 16)!;
            using FileStream held = new(File, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            System.IO.File.Delete(File);
            byte[] another = Write(50_000);
            held.SetLength(8192);

            if (!isInMemory)
                Assert.Throws<ImageException>(() => Block(file, 10));
            Assert.Contains("of another kind", file.Damaged("it is of another kind").Message, StringComparison.Ordinal);
            using (CheckedFile there = CheckedFile.TryOpen(File, 16)!)
            {
                byte[] read = new byte[another.Length];
                there.Read(0, read);
                Assert.Equal(another, read);
                _ = there.Damaged("it is of another kind");
            }
            Assert.False(System.IO.File.Exists(File));
        }
        finally
        {
            CheckedFile.MostOpen = most;
        }
    }

    [Fact]
    public void FilesThatShareACache_DoNotMixTheirBlocks()
    {
        byte[] first = Write(400_000);
        var cache = new CheckedFile.BlockCache(8);
        using CheckedFile a = CheckedFile.TryOpen(File, cache)!;
        System.IO.File.Delete(File);
        byte[] second = Write(400_001);
        using CheckedFile b = CheckedFile.TryOpen(File, cache)!;
        var random = new Random(5);
        for (int i = 0; i < 3000; i++)
        {
            int block = random.Next(97);
            Assert.True(Block(a, block).AsSpan().SequenceEqual(first.AsSpan(block * 4096, 4096)));
            Assert.True(Block(b, block).AsSpan().SequenceEqual(second.AsSpan(block * 4096, 4096)));
        }
    }

    /// <summary>The memory of a block is used again while others copy out of it: nobody is given a mixture of two blocks, nor of two files.</summary>
    [Fact]
    public async Task ManyReadersOfAFewSlots_GetTheirOwnBytes()
    {
        byte[] first = Write(400_000);
        var cache = new CheckedFile.BlockCache(2);
        using CheckedFile a = CheckedFile.TryOpen(File, cache)!;
        System.IO.File.Delete(File);
        byte[] second = Write(400_001);
        using CheckedFile b = CheckedFile.TryOpen(File, cache)!;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(seed => Task.Run(() =>
        {
            var random = new Random(seed);
            byte[] bytes = new byte[4096];
            for (int i = 0; i < 20_000; i++)
            {
                bool isFirst = random.Next(2) == 0;
                int at = random.Next(8) * 4096, skipped = random.Next(2) * random.Next(4096);
                Span<byte> to = bytes.AsSpan(skipped);
                (isFirst ? a : b).Read(at + skipped, to);
                Assert.True(to.SequenceEqual((isFirst ? first : second).AsSpan(at + skipped, to.Length)));
            }
        })));
    }

    /// <summary>A block that cannot be read leaves its slot as it should be: the next block takes it.</summary>
    [Fact]
    public void ABlockThatFails_DoesNotKeepItsSlot()
    {
        byte[] data = Write(100_000);
        using CheckedFile file = CheckedFile.TryOpen(File, 2)!;
        using (FileStream bad = System.IO.File.OpenWrite(File))
        {
            bad.Position = 4096 * 4;
            bad.WriteByte((byte)~data[4096 * 4]);
        }

        Assert.Equal(data[8192..12288], Block(file, 2));
        Assert.Throws<ImageException>(() => Block(file, 4));
        Assert.Equal(data[8192..12288], Block(file, 2));
        Assert.Throws<ImageException>(() => Block(file, 4));
        Assert.Equal(data[(4096 * 6)..(4096 * 7)], Block(file, 6));
    }

    /// <summary>More files than a process may have descriptors: what is opened last is in memory, whole and verified.</summary>
    [Fact]
    public void FileBeyondTheMostThatAreOpen_IsReadIntoMemory()
    {
        byte[] data = Write(50_000);
        int most = CheckedFile.MostOpen;
        Assert.True(most >= 256);
        try
        {
            CheckedFile.MostOpen = 0;
            using CheckedFile file = CheckedFile.TryOpen(File, 16)!;
            Assert.DoesNotContain(File, Directory.EnumerateFiles("/proc/self/fd").Select(link => new FileInfo(link).LinkTarget));
            Assert.Equal(Digest.OfSha256(data), file.Digest);
            byte[] bad = System.IO.File.ReadAllBytes(File);
            bad[30_000] ^= 1;
            System.IO.File.WriteAllBytes(File, bad);
            byte[] read = new byte[data.Length];
            file.Read(0, read);
            Assert.Equal(data, read);

            Assert.Null(CheckedFile.TryOpen(File, 16)); // what is damaged is noticed at once
            Assert.False(System.IO.File.Exists(File));
        }
        finally
        {
            CheckedFile.MostOpen = most;
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(30)]
    [InlineData(4096)]
    [InlineData(100_000)]
    public void AFileOfAnotherKind_IsNone(int length)
    {
        System.IO.File.WriteAllBytes(File, new byte[length]);

        Assert.Null(CheckedFile.TryOpen(File, 16));
        Assert.Null(CheckedFile.TryOpen(File + ".missing", 16));
    }
}
