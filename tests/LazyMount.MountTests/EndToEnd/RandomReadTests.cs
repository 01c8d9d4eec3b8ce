using System.Text.Json;
using LazyMount.TestKit;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>How the layers of an image are written, and with whose help they are read.</summary>
public enum LayerKind
{
    Gzip,

    /// <summary>As skopeo writes it, in many frames: a span is some of them.</summary>
    Zstd,

    /// <summary>In one frame, which cannot be entered: read from its transcoding.</summary>
    ZstdInOneFrame,
    Estargz,
    ZstdChunked,
    Soci,
    Published,

    /// <summary>The lower layer's headers are hopped over, the upper one, which is all headers and small files, is streamed.</summary>
    Uncompressed,
}

/// <summary>
/// Not one wrong byte: sixteen threads read at random from images whose content is known, on every kind of layer and every
/// state that a cache can be in. Each state is made under a new mount, which has no decoded span and whose files are not in the
/// kernel's page cache, so that what is read comes from the files in the cache.
/// </summary>
public sealed class RandomReadTests(SharedRegistry registry, RandomReadImages images) : IClassFixture<RandomReadImages>, IDisposable
{
    private const int Threads = 16, ReadsPerThread = 60, LargestRead = 300_000;

    private readonly LazyMountCli _lazymount = new();
    private string _image = "";
    private string _face = "";
    private KnownTree _tree = null!;
    private int _mounts;

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData(LayerKind.Gzip, "built", "built", "auto")]
    [InlineData(LayerKind.Gzip, "built", "built", "fuse")]
    [InlineData(LayerKind.Zstd, "built", "built", "auto")]
    [InlineData(LayerKind.ZstdInOneFrame, "built", "built", "auto")]
    [InlineData(LayerKind.Estargz, "estargz", "estargz", "auto")]
    [InlineData(LayerKind.ZstdChunked, "zstd:chunked", "zstd:chunked", "auto")]
    [InlineData(LayerKind.ZstdChunked, "zstd:chunked", "zstd:chunked", "fuse")]
    [InlineData(LayerKind.Soci, "soci", "soci", "auto")]
    [InlineData(LayerKind.Published, "published", "published", "auto")]
    [InlineData(LayerKind.Uncompressed, "tar-headers", "built", "auto")]
    [InlineData(LayerKind.Uncompressed, "tar-headers", "built", "fuse")]
    public void RandomReads_WhateverTheCacheIsLike_GiveTheRightBytes(LayerKind kind, string lower, string upper, string face)
    {
        _face = face;
        _tree = images.TreeOf(kind);
        _image = $"{registry.Server.Host}/random/{kind.ToString().ToLowerInvariant()}:v1";
        // Without --preserve-digests skopeo compresses what is not compressed.
        Tool.Run("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", images.ReferenceTo(kind), $"docker://{_image}").EnsureSuccess();
        if (kind is LayerKind.Soci or LayerKind.Published)
        {
            _lazymount.Run(["index", "push", "--format", kind == LayerKind.Soci ? "soci" : "lazymount", _image]).EnsureSuccess();
            Directory.Delete(_lazymount.CacheDirectory, recursive: true);
        }

        // Cold, then warm. All is read once, so that all of it is in the cache.
        Under(mount =>
        {
            ReadAtRandom(mount, seed: 1);
            ReadAll(mount);
        });
        string[] digests = AssertServedBy(lower, upper);
        Under(mount => ReadAtRandom(mount, seed: 2));

        // Half of it evicted.
        string[] kept = DataFiles();
        if (kind == LayerKind.ZstdInOneFrame)
        {
            Assert.Contains(kept, file => !IsChunk(file));
        }
        Assert.True(kept.Length >= 2);
        Under(mount =>
        {
            ReadAtRandom(mount, seed: 3, files: 2); // what is open stays right
            for (int i = 0; i < kept.Length; i++)
            {
                if (i % 2 == 0)
                {
                    File.Delete(kept[i]);
                }
                else if (IsChunk(kept[i]))
                {
                    CacheSegment.Forget(kept[i], [.. CacheSegment.Present(kept[i]).Where(chunk => chunk % 3 == 0)]);
                }
            }
            ReadAtRandom(mount, seed: 4);
            ReadAll(mount);
        });
        Under(ReadAll); // fills it up again where a mount held a deleted file open

        // A bit in every chunk: the disk's doing, or somebody's who makes the hash right again.
        AssertDamageHeals(kind, DataFiles(), rehash: false, seed: 5);
        // Nobody vouches for the bytes of a tar whose headers alone were read: with a right hash a changed chunk cannot be told
        // from a right one. The other layer's can.
        AssertDamageHeals(kind, [.. DataFiles().Where(file => lower != "tar-headers" || !file.Contains(digests[0]["sha256:".Length..], StringComparison.Ordinal))], rehash: true, seed: 6);

        // A bit in every index, under a mount and before the next. A mount reads its indexes in place: what it cannot have any more fails.
        string[] indexes = IndexFiles(digests);
        Assert.Equal(2, indexes.Length);
        Under(mount =>
        {
            Array.ForEach(indexes, index => Flip(index, rehash: false));
            ReadAtRandom(mount, seed: 7, mayFail: true);
        });
        Under(mount => ReadAtRandom(mount, seed: 8));
        // What is whole in the cache is indexed anew, whoever made the index before; for the rest the same table serves again.
    }

    private void AssertDamageHeals(LayerKind kind, string[] files, bool rehash, int seed)
    {
        Assert.NotEmpty(files);
        var sound = files.ToDictionary(file => file, File.ReadAllBytes);
        string log = Under(mount =>
        {
            Array.ForEach(files, file => Flip(file, rehash));
            ReadAtRandom(mount, seed);
            ReadAll(mount);
        });
        Assert.Contains("warn: ", log, StringComparison.Ordinal);
        if (files.Any(IsChunk))
        {
            Assert.Contains("in the cache is damaged and is fetched again", log, StringComparison.Ordinal);
        }
        if (!files.All(IsChunk))
        {
            Assert.Contains("damaged in the cache and is made again", log, StringComparison.Ordinal);
        }

        // Only what no file's bytes depend on may be left: a table of contents and its surroundings, and with a right hash a
        // bit that decoding does not look at where what it decodes to is what is verified.
        string[] left = [.. files.Where(file => !File.Exists(file) || !File.ReadAllBytes(file).AsSpan().SequenceEqual(sound[file]))];
        bool mayLeave = kind is LayerKind.Estargz or LayerKind.ZstdChunked;
        Assert.True(left.Length == 0 || mayLeave, $"{left.Length} of {files.Length} files are not healed: {string.Join(' ', left)}");
        int chunks = 0, leftChunks = 0;
        foreach (string file in left)
        {
            byte[] now = File.ReadAllBytes(file), then = sound[file];
            for (int at = CacheSegment.DataStart; at < then.Length; at += CacheSegment.ChunkSize)
            {
                int length = Math.Min(CacheSegment.ChunkSize, then.Length - at);
                (chunks, leftChunks) = (chunks + 1, leftChunks + (now.AsSpan(at, length).SequenceEqual(then.AsSpan(at, length)) ? 0 : 1));
            }
            File.WriteAllBytes(file, then);
        }
        Assert.True(leftChunks <= 4 + chunks / 10, $"{leftChunks} of {chunks} chunks are not healed");
    }

    /// <summary>Mounts, acts, unmounts; returns the mount's log.</summary>
    private string Under(Action<string> act)
    {
        string log = _lazymount.Directory[$"log{_mounts++}"];
        string mount = _lazymount.Mount(_image, "--as", _face, "--log-file", log);
        act(mount);
        _lazymount.Run("umount", mount).EnsureSuccess();
        return File.ReadAllText(log);
    }

    /// <summary>Returns the layers' digests. A kind that is streamed instead would test nothing.</summary>
    private string[] AssertServedBy(params string[] origins)
    {
        ToolResult result = _lazymount.Run("layers", "--json", _image);
        result.EnsureSuccess();
        using JsonDocument layers = JsonDocument.Parse(result.Output);
        Assert.Equal(origins, layers.RootElement.EnumerateArray().Select(layer => layer.GetProperty("origin").GetString()));
        return [.. layers.RootElement.EnumerateArray().Select(layer => layer.GetProperty("layerDigest").GetString()!)];
    }

    /// <summary>Chunks and transcodings, not configurations and manifests.</summary>
    private string[] DataFiles() => [.. CacheFiles.All(_lazymount)
        .Where(file => IsChunk(file) ? CacheSegment.Present(file).Length > 0
            : file.Contains("/blobs/", StringComparison.Ordinal) && new FileInfo(file).Length > 1 << 20)
        .Order(StringComparer.Ordinal)];

    private string[] IndexFiles(string[] digests) => [.. CacheFiles.All(_lazymount)
        .Where(file => file.Contains("layers/", StringComparison.Ordinal) && digests.Any(digest => Path.GetFileName(file) == digest["sha256:".Length..]))];

    private static bool IsChunk(string file) => file.Contains("/chunks/", StringComparison.Ordinal);

    /// <summary>A bit of every chunk, or of another file.</summary>
    private static void Flip(string path, bool rehash)
    {
        if (IsChunk(path))
        {
            foreach (int chunk in CacheSegment.Present(path))
            {
                CacheSegment.Flip(path, chunk, Random.Shared.Next(CacheSegment.LengthOf(path, chunk)), rehash);
            }
            return;
        }
        byte[] bytes = File.ReadAllBytes(path);
        bytes[Random.Shared.Next(bytes.Length)] ^= (byte)(1 << Random.Shared.Next(8));
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        RandomAccess.Write(file, bytes, 0); // in place: who has it open sees it
    }

    /// <param name="mount">Where.</param>
    /// <param name="seed">Tells which bytes.</param>
    /// <param name="files">How many files each thread reads from, if not from all.</param>
    /// <param name="mayFail">A read may fail with EIO.</param>
    private void ReadAtRandom(string mount, int seed, int files = int.MaxValue, bool mayFail = false)
    {
        Exception? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() =>
        {
            try
            {
                ReadAtRandom(mount, new Random(seed * Threads + number), files, mayFail);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref failure, e, null);
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => Assert.True(thread.Join(TimeSpan.FromSeconds(60)), "a read has not ended after a minute"));
        Assert.True(failure is null, $"state {seed}: {failure}");
    }

    private void ReadAtRandom(string mount, Random random, int files, bool mayFail)
    {
        var buffer = new byte[LargestRead];
        for (int i = 0; i < Math.Min(ReadsPerThread, files); i++)
        {
            // Either layer half of the time, though the upper one has most files.
            (string path, byte[] content)[] layer = _tree.Layers[random.Next(2)];
            (string path, byte[] content) = layer[random.Next(layer.Length)];
            using SafeFileHandle file = File.OpenHandle(Path.Combine(mount, path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            int offset = random.Next(content.Length + 10);
            int length = random.Next(2) == 0 ? random.Next(LargestRead) : random.Next(5000);
            int read;
            try
            {
                read = ReadFully(file, buffer.AsSpan(0, length), offset);
            }
            catch (IOException e) when (mayFail && e.Message.Contains("Input/output error", StringComparison.Ordinal))
            {
                continue;
            }
            ReadOnlySpan<byte> expected = content.AsSpan(Math.Min(offset, content.Length));
            expected = expected[..Math.Min(length, expected.Length)];
            if (!expected.SequenceEqual(buffer.AsSpan(0, read)))
            {
                throw new InvalidDataException($"{path} is wrong somewhere in [{offset}, {offset + length}): {read} bytes instead of {expected.Length}, the first {expected.CommonPrefixLength(buffer.AsSpan(0, read))} of them right");
            }
        }
    }

    private void ReadAll(string mount) => Parallel.ForEach(_tree.Layers.SelectMany(layer => layer), new ParallelOptions { MaxDegreeOfParallelism = 4 }, file =>
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(mount, file.Path));
        Assert.True(bytes.AsSpan().SequenceEqual(file.Content), $"{file.Path} is wrong from byte {bytes.AsSpan().CommonPrefixLength(file.Content)} on");
    });

    private static int ReadFully(SafeFileHandle file, Span<byte> buffer, long offset)
    {
        int filled = 0;
        while (filled < buffer.Length && RandomAccess.Read(file, buffer[filled..], offset + filled) is var read && read > 0)
        {
            filled += read;
        }
        return filled;
    }
}

/// <summary>The files of two layers, lowest first, and what each of them holds; those that are hidden are not among them.</summary>
public sealed record KnownTree((string Path, byte[] Content)[][] Layers);

/// <summary>One tree of 300 files, 0 bytes to 3 MB, in every kind of layer; made when it is asked for.</summary>
public sealed class RandomReadImages : IDisposable
{
    private const int LargeFiles = 16, SmallFiles = 284;

    private readonly TemporaryDirectory _directory = new();
    private readonly List<(string, byte[])> _lower = [], _upper = [];
    private readonly (string, byte[]) _sparse;
    private readonly byte[] _lowerTar, _upperTar, _sparseUpperTar;
    private readonly Lazy<string> _plain, _withSparse;

    public RandomReadImages()
    {
        var random = new Random(4711);
        TarBytes lower = new TarBytes().Directory("large"), upper = new TarBytes().Directory("small");
        for (int i = 0; i < LargeFiles; i++)
        {
            // The one that the upper layer hides is small: no span may lie in it alone, for nobody reads that.
            Add(lower, _lower, $"large/{i}", i == 5 ? 50_000 : random.Next(200_000, 3_000_001));
        }
        Link(lower, _lower, "large/link", 3);
        for (int i = 0; i < SmallFiles; i++)
        {
            // Close together, and more than is tried before a pass over all is found to be better.
            Add(upper, _upper, $"small/{i}", i % 50 == 0 ? 0 : random.Next(i % 3 == 0 ? 1000 : 80_000));
        }
        Link(upper, _upper, "small/link", 100);
        Add(upper, _upper, "large/5", 1_500_000); // replaces the lower layer's
        _lower.RemoveAll(file => file.Item1 == "large/5");
        (_lowerTar, _upperTar) = (lower.ToArray(), upper.ToArray());

        (long Offset, long Length)[] map = [(4096, 70_000), (300_032, 512), (1_000_000, 200_000)];
        byte[] stored = Content(map.Sum(extent => (int)extent.Length)), content = new byte[2_500_000];
        int at = 0;
        foreach ((long offset, long length) in map)
        {
            stored.AsSpan(at, (int)length).CopyTo(content.AsSpan((int)offset));
            at += (int)length;
        }
        _sparse = ("small/sparse", content);
        _sparseUpperTar = upper.Sparse(SparseFormat.Pax10, _sparse.Item1, content.Length, map, stored).ToArray();
        _plain = new(() => Write("plain", _upperTar));
        _withSparse = new(() => Write("sparse", _sparseUpperTar));

        void Add(TarBytes tar, List<(string, byte[])> files, string path, int size)
        {
            byte[] bytes = Content(size);
            tar.File(path, bytes);
            files.Add((path, bytes));
        }

        void Link(TarBytes tar, List<(string, byte[])> files, string path, int target)
        {
            tar.HardLink(path, files[target].Item1);
            files.Add((path, files[target].Item2));
        }

        // Compressible by a quarter.
        byte[] Content(int size)
        {
            var bytes = new byte[size];
            random.NextBytes(bytes);
            for (int i = 0; i < size; i++)
            {
                bytes[i] &= 0x3F;
            }
            return bytes;
        }
    }

    /// <summary>What an image of this kind holds.</summary>
    public KnownTree TreeOf(LayerKind kind) => new([[.. _lower], HoldsSparse(kind) ? [.. _upper, _sparse] : [.. _upper]]);

    /// <summary>The image, as lazymount and skopeo name it.</summary>
    public string ReferenceTo(LayerKind kind)
    {
        string target = _directory[kind.ToString()];
        switch (kind)
        {
            case LayerKind.Zstd:
                Tool.Run("skopeo", "copy", "--quiet", "--dest-compress", "--dest-compress-format", "zstd", $"oci:{_withSparse.Value}:v1", $"oci:{target}:v1").EnsureSuccess();
                return $"oci:{target}:v1";
            case LayerKind.Estargz:
                using (var containerd = new Containerd())
                {
                    containerd.Convert(_plain.Value, target, "--estargz");
                }
                return $"oci:{target}:v1";
            case LayerKind.ZstdChunked:
                Skopeo.ConvertToZstdChunked(_plain.Value, target, "v1");
                return $"oci:{target}:v1";
            case LayerKind.ZstdInOneFrame or LayerKind.Uncompressed:
                var layout = new OciLayoutBuilder(target);
                foreach (byte[] tar in (byte[][])[_lowerTar, _sparseUpperTar])
                {
                    if (kind == LayerKind.Uncompressed)
                    {
                        layout.AddLayer(tar, OciLayoutBuilder.TarLayer, OciLayoutBuilder.DigestOf(tar));
                    }
                    else
                    {
                        File.WriteAllBytes(_directory["tar"], tar);
                        Tool.Run("zstd", "-q", "-f", _directory["tar"], "-o", _directory["tar.zst"]).EnsureSuccess();
                        layout.AddLayer(File.ReadAllBytes(_directory["tar.zst"]), OciLayoutBuilder.TarLayer + "+zstd", OciLayoutBuilder.DigestOf(tar));
                    }
                }
                layout.WriteImage("v1");
                return layout.Reference("v1");
            default:
                return $"oci:{(HoldsSparse(kind) ? _withSparse : _plain).Value}:v1";
        }
    }

    public void Dispose() => _directory.Dispose();

    // These tables of contents know nothing of holes: no ztoc is published of a layer that has some, and the tools that write
    // the others refuse or fill them.
    private static bool HoldsSparse(LayerKind kind) => kind is not (LayerKind.Estargz or LayerKind.ZstdChunked or LayerKind.Soci);

    private string Write(string name, byte[] upperTar)
    {
        var layout = new OciLayoutBuilder(_directory[name]);
        layout.AddLayer(_lowerTar).AddLayer(upperTar).WriteImage("v1");
        return layout.Directory;
    }
}
