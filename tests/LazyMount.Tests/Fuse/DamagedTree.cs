using System.Globalization;
using LazyMount.Blobs.Cache;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Indexes.Model;
using LazyMount.TestKit;
using LazyMount.Tests.FileSystem;
using Xunit;

namespace LazyMount.Tests.Fuse;

/// <summary>The tree file of one directory of many files, of which one block is damaged that holds nothing but inodes of files.</summary>
internal sealed class DamagedTree : IDisposable
{
    private const int Files = 600;

    private static readonly byte[] s_key = new byte[32];

    private readonly TemporaryDirectory _directory = new();

    public DamagedTree()
    {
        var layer = new LayerBuilder().Directory("dir");
        Names = [.. Enumerable.Range(0, Files).Select(i => string.Create(CultureInfo.InvariantCulture, $"file-{i:D4}"))];
        foreach (string name in Names)
        {
            layer.File($"dir/{name}", size: 5);
        }
        LayerIndex index = layer.Build();
        string path = _directory["tree"];
        using (FileStream file = File.Create(path))
        using (var writer = new CheckedFile.Writer(file))
        {
            TreeBuilder.Merge([index], Guid.Empty, s_key).Write(writer);
            writer.Finish();
        }

        using (ImageTree sound = TreeBuilder.Build([index]))
        {
            Directory = sound.Find(ImageTree.RootId, "dir"u8);
            ulong[] files = [.. sound.NamesIn(Directory).Select(name => name.Node)];
            // In the middle: names, directories and what else there is stand before and behind.
            long block = BlockOf(files[Files / 2]);
            Damaged = [.. Names.Where((_, i) => BlockOf(files[i]) == block)];
            Assert.InRange(Damaged.Count, 50, Files - 50);

            Tree = ImageTree.TryOpen(path, s_key)!;
            using var damage = new FileStream(path, System.IO.FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            damage.Position = (block * ErofsFormat.BlockSize) + 4000;
            damage.Write(new byte[64]);
            damage.WriteByte(0xA5);
        }
    }

    public ImageTree Tree { get; }

    /// <summary>The directory with the files.</summary>
    public ulong Directory { get; }

    /// <summary>All its names.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Those whose attributes cannot be read.</summary>
    public IReadOnlyList<string> Damaged { get; }

    public void Dispose()
    {
        Tree.Dispose();
        _directory.Dispose();
    }

    private static long BlockOf(ulong node) => ErofsFormat.MetadataBlock + ((long)node * ErofsFormat.SlotSize / ErofsFormat.BlockSize);
}
