using LazyMount.Compression;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Compression;

/// <summary>Streams that the real tools make of one file, in every way that they offer, and what the tools say to broken ones.</summary>
public sealed class ToolStreamsTests : IDisposable
{
    private static readonly byte[] s_data = Streams.MakeData(7, 700_000);
    private readonly TemporaryDirectory _directory = new();

    /// <summary>Shell lines that compress the file $1 (or a cut of it) to standard output.</summary>
    public static TheoryData<CompressionFormat, string> Lines => new()
    {
        { CompressionFormat.Zstd, "zstd -c $1" },
        { CompressionFormat.Zstd, "zstd -c -1 --no-check < $1" },
        { CompressionFormat.Zstd, "zstd -c -19 --check < $1" },
        { CompressionFormat.Zstd, "zstd -c --content-size $1" },
        { CompressionFormat.Zstd, "zstd -c --no-content-size $1" },
        { CompressionFormat.Zstd, "zstd -c --long=27 < $1" },
        { CompressionFormat.Zstd, "zstd -c --ultra -22 < $1" },
        { CompressionFormat.Zstd, "pzstd -c -p 4 $1" },
        { CompressionFormat.Zstd, "split -b 100000 --filter 'zstd -c' $1" },
        { CompressionFormat.Zstd, "split -b 7777 --filter 'zstd -c --no-check' $1" },
        { CompressionFormat.Zstd, @"printf '\132\052\115\030\003\0\0\0abc'; split -b 300000 --filter 'zstd -c; printf ""\120\052\115\030\0\0\0\0""' $1; printf '\137\052\115\030\001\0\0\0a'" },
        { CompressionFormat.Zstd, "zstd -c < /dev/null; zstd -c $1; zstd -c < /dev/null" },
        { CompressionFormat.Bzip2, "bzip2 -c $1" },
        { CompressionFormat.Bzip2, "bzip2 -1 -c $1" },
        { CompressionFormat.Bzip2, "pbzip2 -p3 -b1 -c $1" },
        { CompressionFormat.Bzip2, "lbzip2 -n3 -1 -c $1" },
        { CompressionFormat.Bzip2, "bzip2 -c </dev/null; split -b 200001 --filter 'bzip2 -c' $1; bzip2 -c < /dev/null" },
        { CompressionFormat.Bzip2, "bzip2 -c $1; echo this is ignored" },
        { CompressionFormat.Bzip2, "bzip2 -c $1; printf BZ" },
        { CompressionFormat.Xz, "xz -c $1" },
        { CompressionFormat.Xz, "xz -0 -c --check=none $1" },
        { CompressionFormat.Xz, "xz -1 -c --check=crc32 $1" },
        { CompressionFormat.Xz, "xz -9 -c --check=sha256 $1" },
        { CompressionFormat.Xz, "xz -c -T2 --block-size=200000 $1" },
        { CompressionFormat.Xz, "xz -c -1 --block-size=65536 $1" },
        { CompressionFormat.Xz, "xz -c </dev/null; split -b 300000 --filter 'xz -c -0; head -c 8 /dev/zero' $1; xz -c < /dev/null" },
        { CompressionFormat.Xz, "xz -c $1; head -c 400 /dev/zero" },
    };

    public void Dispose() => _directory.Dispose();

    [Theory]
    [MemberData(nameof(Lines))]
    public void AnyKind_IsDecodedWhole_AndFromEachCheckpoint(CompressionFormat format, string line)
    {
        byte[] compressed = Compress(line, s_data);
        Assert.Equal(format, Decompressor.Detect(compressed));

        var checkpoints = new List<Checkpoint>();
        using Decompressor whole = Decompressor.Start(format, 50_000);
        Streams.Verdict verdict = Streams.Run(whole, compressed, 1, 60_000, checkpoints);

        Assert.Null(verdict.Error);
        Assert.Equal(s_data, verdict.Output);
        Assert.Equal(0, checkpoints[0].UncompressedOffset);
        Assert.All(checkpoints, checkpoint =>
        {
            using Decompressor resumed = Decompressor.Resume(format, checkpoint);
            Assert.Equal(s_data[(int)checkpoint.UncompressedOffset..], Streams.Run(resumed, compressed.AsMemory((int)checkpoint.CompressedOffset)).Output);
        });
        Assert.All(checkpoints.Zip(checkpoints.Skip(1)), pair => Assert.True(pair.Second.UncompressedOffset - pair.First.UncompressedOffset >= 50_000));
        if (line.StartsWith("split -b 7777", StringComparison.Ordinal))
            Assert.Equal(13, checkpoints.Count);
    }

    [Theory]
    [MemberData(nameof(Lines))]
    public void OneByteAtATime_IsTheSame(CompressionFormat format, string line)
    {
        byte[] data = s_data[..20_000];
        using Decompressor decompressor = Decompressor.Start(format);

        Assert.Equal(data, Streams.Run(decompressor, Compress(line, data), 1, 1).Output);
    }

    [Theory]
    [InlineData(CompressionFormat.Zstd, "zstd -c --check < $1", true)]
    [InlineData(CompressionFormat.Zstd, "zstd -c --no-check < $1", false)]
    [InlineData(CompressionFormat.Bzip2, "bzip2 -1 -c $1", true)]
    [InlineData(CompressionFormat.Xz, "xz -c --check=crc32 --lzma2=dict=4KiB $1", true)]
    [InlineData(CompressionFormat.Xz, "xz -c --check=crc64 --lzma2=dict=4KiB $1", true)]
    [InlineData(CompressionFormat.Xz, "xz -c --check=sha256 --lzma2=dict=4KiB $1", true)]
    [InlineData(CompressionFormat.Xz, "xz -c --check=none --lzma2=dict=4KiB $1", false)]
    public void EveryByteDamaged_IsRefused_OrTheSameBytes(CompressionFormat format, string line, bool isChecked)
    {
        byte[] data = Streams.MakeData(3, 700);
        byte[] compressed = Compress(line, data);
        for (int at = 0; at < compressed.Length; at++)
        {
            byte[] damaged = [.. compressed];
            damaged[at] ^= (byte)(1 << at % 8);
            using Decompressor decompressor = Decompressor.Start(format);
            Streams.Verdict verdict = Streams.Run(decompressor, damaged, at);
            if (isChecked && verdict.Error is null)
                Assert.True(data.AsSpan().SequenceEqual(verdict.Output), $"byte {at} of {compressed.Length}");
        }
    }

    [Theory]
    [InlineData(CompressionFormat.Zstd, "zstd -c < $1")]
    [InlineData(CompressionFormat.Zstd, "zstd -c < $1; printf '\\120\\052\\115\\030\\004\\0\\0\\0abcd'")]
    [InlineData(CompressionFormat.Bzip2, "bzip2 -1 -c $1")]
    [InlineData(CompressionFormat.Xz, "xz -c --lzma2=dict=4KiB $1")]
    public void CutAnywhere_IsRefused(CompressionFormat format, string line)
    {
        byte[] compressed = Compress(line, Streams.MakeData(3, 700));
        int frame = line.Contains(';', StringComparison.Ordinal) ? compressed.Length - 12 : compressed.Length;
        for (int length = 0; length < compressed.Length; length++)
        {
            if (length == frame)
                continue; // a whole stream
            using Decompressor decompressor = Decompressor.Start(format);
            Assert.Contains("cut off", Streams.Run(decompressor, compressed.AsMemory(0, length)).Error, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(CompressionFormat.Zstd, "zstd -c < $1; printf garbage", "neither a frame nor the end")]
    [InlineData(CompressionFormat.Zstd, "zstd -c < $1; head -c 1 /dev/zero", "cut off")]
    [InlineData(CompressionFormat.Zstd, "zstd -c --long=28 < $1", "--long=27")]
    [InlineData(CompressionFormat.Xz, "xz -c $1; printf garbage-garbage", "neither another stream nor padding")]
    [InlineData(CompressionFormat.Xz, "xz -c $1; head -c 3 /dev/zero", "cut off")]
    [InlineData(CompressionFormat.Xz, "xz -c --lzma2=dict=256MiB $1", "smaller")]
    [InlineData(CompressionFormat.Xz, "xz -c --x86 --lzma2 $1", "filter (0x4)")]
    public void WhatIsNotTaken_IsToldWhy(CompressionFormat format, string line, string error)
    {
        byte[] compressed = Compress(line, s_data[..300_000]);
        using Decompressor decompressor = Decompressor.Start(format);

        Assert.Contains(error, Streams.Run(decompressor, compressed).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void ADictionary_IsRefusedByItsNumber()
    {
        byte[] compressed = Compress("""
            d=$(mktemp -d); split -b 1000 $1 $d/part; zstd -q --train --maxdict=20000 --dictID=4711 $d/part* -o $d/dictionary
            zstd -c -D $d/dictionary < $1; rm -r $d
            """, s_data[..300_000]);
        using Decompressor decompressor = Decompressor.Start(CompressionFormat.Zstd);

        Assert.Contains("needs the dictionary 4711", Streams.Run(decompressor, compressed).Error, StringComparison.Ordinal);
    }

    private byte[] Compress(string line, byte[] data)
    {
        string file = Path.Combine(_directory.Path, "data");
        File.WriteAllBytes(file, data);
        return Tool.Shell(line, file).EnsureSuccess().OutputBytes;
    }
}
