using System.Globalization;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.Posix.Libc;

namespace LazyMount.MountTests.Posix;

/// <summary>Files with holes in a mount, beside what GNU tar makes of the same tar on a real file system.</summary>
public sealed class SparseTests : IDisposable
{
    private const int SeekData = 3, SeekHole = 4;
    private const int Page = 4096;

    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("--format=gnu")]
    [InlineData("--format=posix --sparse-version=0.0")]
    [InlineData("--format=posix --sparse-version=0.1")]
    [InlineData("--format=posix --sparse-version=1.0")]
    public async Task Mount_ShowsWhatTarExtracts_AndItsHolesCanBeCopied(string options)
    {
        string files = _directory.CreateDirectory("files");
        Write("one", 256 * Page, (50, 2));
        Write("ends", 100 * Page, (0, 1), (99, 1));
        Write("hole", 1L << 40);
        Write("dense", 5 * Page, (0, 5));
        Write("many", 3000 * Page, [.. Enumerable.Range(0, 700).Select(i => (i * 4 + 1, 1 + i % 3))]);
        Tool.Shell("ln \"$1/many\" \"$1/same\"", files).EnsureSuccess();
        Tool.Shell($"tar -C \"$1\" -S {options} --sort=name -cf \"$2\" .", files, _directory["tar"]).EnsureSuccess();
        string extracted = _directory.CreateDirectory("extracted");
        Tool.Run("tar", "-C", extracted, "-xf", _directory["tar"]).EnsureSuccess();

        await using TestImage image = await TestImage.CreateAsync(_directory, new TarBytes().Raw(await File.ReadAllBytesAsync(_directory["tar"], TestContext.Current.CancellationToken)));
        string root = _directory.CreateDirectory("mnt"), copies = _directory.CreateDirectory("copies");
        await using var mount = image.Mount(root);
        foreach (string name in (string[])["one", "ends", "hole", "dense", "many", "same"])
        {
            string theirs = $"{extracted}/{name}", ours = $"{root}/{name}";
            Assert.Equal(Stat(theirs, "%s %h"), Stat(ours, "%s %h"));
            Assert.Equal(DataOf(theirs), DataOf(ours));
            // The real file system counts blocks of its own for the places of many extents.
            long blocks = long.Parse(Stat(ours, "%b"), CultureInfo.InvariantCulture);
            Assert.InRange(long.Parse(Stat(theirs, "%b"), CultureInfo.InvariantCulture) - blocks, 0, 16);
            if (name != "hole")
            {
                Tool.Run("cmp", theirs, ours).EnsureSuccess();
            }
            Tool.Run("cp", "--sparse=auto", ours, copies).EnsureSuccess();
            Assert.Equal(DataOf(theirs), DataOf($"{copies}/{name}"));
        }
        AssertRandomReadsAgree($"{extracted}/many", $"{root}/many");
        Assert.Equal(["hole"], Tool.Run("find", root, "-size", "+1000G", "-printf", "%f\n").EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Tool.Shell("tar -C \"$1\" -S -cf \"$2\" . && [ $(stat -c %s \"$2\") -lt 8000000 ]", root, _directory["again"]).EnsureSuccess();

        void Write(string name, long size, params (int Page, int Count)[] extents)
        {
            using FileStream file = File.Create(Path.Combine(files, name));
            file.SetLength(size);
            var random = new Random(name.Length);
            foreach ((int page, int count) in extents)
            {
                var bytes = new byte[count * Page];
                random.NextBytes(bytes);
                file.Position = (long)page * Page;
                file.Write(bytes);
            }
        }
    }

    // More pieces than one writev takes, and one read across all of them.
    [Fact]
    public async Task ManyTinyExtents_AreReadInOneReply()
    {
        const int Extents = 5000;
        var stored = new byte[Extents * 100];
        new Random(3).NextBytes(stored);
        (long Offset, long Length)[] map = [.. Enumerable.Range(0, Extents).Select(i => (i * 257L + 13, 100L))];
        var whole = new byte[2 << 20];
        for (int i = 0; i < Extents; i++)
        {
            stored.AsSpan(i * 100, 100).CopyTo(whole.AsSpan((int)map[i].Offset));
        }
        await using TestImage image = await TestImage.CreateAsync(_directory, new TarBytes().Sparse(SparseFormat.Pax10, "file", whole.Length, map, stored));
        string root = _directory.CreateDirectory("mnt");
        await using var mount = image.Mount(root);
        await File.WriteAllBytesAsync(_directory["whole"], whole, TestContext.Current.CancellationToken);
        AssertRandomReadsAgree(_directory["whole"], root + "/file");
        int fd = Open(root + "/file", Direct);
        Assert.True(PRead(fd, 1000, 1 << 20).AsSpan().SequenceEqual(whole.AsSpan(1000, 1 << 20)));
        Close(fd);
    }

    private static void AssertRandomReadsAgree(string expected, string actual)
    {
        int real = Open(expected), cached = Open(actual), direct = Open(actual, Direct);
        long size = new FileInfo(expected).Length;
        var random = new Random(11);
        for (int i = 0; i < 100; i++)
        {
            long offset = random.NextInt64(size);
            int length = random.Next(1, i % 10 == 0 ? 1 << 20 : 40_000);
            byte[] bytes = PRead(real, offset, length);
            Assert.True(bytes.AsSpan().SequenceEqual(PRead(cached, offset, length)), $"{length} bytes at {offset}, cached");
            Assert.True(bytes.AsSpan().SequenceEqual(PRead(direct, offset, length)), $"{length} bytes at {offset}, direct");
        }
        Close(real);
        Close(cached);
        Close(direct);
    }

    // Where data begins and ends, by SEEK_DATA and SEEK_HOLE.
    private static List<(long From, long To)> DataOf(string path)
    {
        var extents = new List<(long, long)>();
        int fd = Open(path);
        for (long at = 0; (at = lseek(fd, at, SeekData)) >= 0;)
        {
            long from = at;
            at = lseek(fd, at, SeekHole);
            extents.Add((from, at));
        }
        Close(fd);
        return extents;
    }

    private static string Stat(string path, string format) => Tool.Run("stat", "-c", format, path).EnsureSuccess().Output.Trim();
}
