using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`mount --view image-file`: one file that is an EROFS image, made while it is read.</summary>
public sealed class ImageFileTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly byte[] _content = new byte[3_000_000];

    public ImageFileTests() => new Random(11).NextBytes(_content);

    public void Dispose() => _lazymount.Dispose();

    private string Write()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        var lower = new TarBytes().Directory("./").File("big", _content).Symlink("link", "big").Pax(("SCHILY.xattr.user.x", "y")).File("b", "b")
            .Sparse(SparseFormat.Pax10, "sparse", 30_000_000, [(0, 1000), (5000, 4000), (20_000_000, 5000)], _content[..10_000]);
        for (int i = 0; i < 2000; i++)
            lower.File($"many/{i}", $"content of {i}");
        layout.AddLayer(lower).AddLayer(new TarBytes().Directory("./").File("b", "another").Whiteout("link").File("empty", ""));
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    [Fact]
    public void File_IsWhatExportWrites_InAnyPiece()
    {
        string image = Write(), exported = _lazymount.Directory["exported"];
        _lazymount.Run("export", "--format", "erofs", "-o", exported, image).EnsureSuccess();
        string directory = _lazymount.Mount(image, "--view", "image-file");
        Assert.Equal(["image.erofs"], Directory.GetFiles(directory).Select(Path.GetFileName));
        byte[] expected = File.ReadAllBytes(exported);
        string file = Path.Combine(directory, "image.erofs");
        var random = new Random(3);
        using (FileStream stream = File.OpenRead(file))
        {
            Assert.Equal(expected.Length, stream.Length);
            for (int i = 0; i < 200; i++)
            {
                int length = random.Next(1, 300_000), offset = random.Next(expected.Length);
                byte[] piece = new byte[Math.Min(length, expected.Length - offset)];
                stream.Position = offset;
                stream.ReadExactly(piece);
                Assert.True(expected.AsSpan(offset, piece.Length).SequenceEqual(piece), $"bytes {offset} to {offset + piece.Length} differ");
            }
        }
        Assert.Equal(expected, File.ReadAllBytes(file));
    }

    [Fact]
    public void Kernel_ShowsTheTreeOfTheFile()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root can mount a file system image");
        string image = Write();
        string file = Path.Combine(_lazymount.Mount(image, "--view", "image-file"), "image.erofs"), directory = _lazymount.Directory.CreateDirectory("kernel");
        Tool.Run("mount", "-t", "erofs", "-o", "ro,loop", file, directory).EnsureSuccess();
        try
        {
            string difference = TreeSnapshot.Take(_lazymount.Mount(image)).Difference(TreeSnapshot.Take(directory));
            Assert.True(difference.Length == 0, difference);
        }
        finally
        {
            Tool.Run("umount", directory).EnsureSuccess();
        }
    }

    [Fact]
    public void NothingStaysInTheCache_AndWrongUseIsOneSentence()
    {
        string image = Write();
        string directory = _lazymount.Mount(image, "--view", "image-file");
        Assert.Empty(Directory.EnumerateFiles(_lazymount.Directory.Path, ".image-*", SearchOption.AllDirectories));
        _lazymount.Run("umount", directory).EnsureSuccess();
        ToolResult wrong = _lazymount.Run("mount", "--view", "picture", image, directory);
        Assert.Equal(2, wrong.ExitCode);
        Assert.Equal("lazymount: --view 'picture' is none of tree, layers and image-file\n", wrong.Error);
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Pax(("SCHILY.xattr.user.large", new string('v', 65_536))).File("file", "x")).WriteImage("v2");
        ToolResult refused = _lazymount.Run("mount", "--view", "image-file", layout.Reference("v2"), directory);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("as an image file: '/file' has an attribute of more than 65535 bytes, which EROFS cannot hold; use it as a tree", refused.Error, StringComparison.Ordinal);
    }
}
