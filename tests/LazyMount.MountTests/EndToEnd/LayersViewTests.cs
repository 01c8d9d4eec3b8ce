using System.Text.Json;
using LazyMount.TestKit;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`mount --view layers`: the image in merged/, and each layer by itself in layers/NN/.</summary>
public sealed class LayersViewTests(DebianImages debian) : IDisposable
{
    private const int Readers = 8, ReadsPerReader = 150;

    private readonly LazyMountCli _lazymount = new();

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [InlineData("auto")]
    [InlineData("fuse")]
    public void Merged_IsWhatAMountShows_AndEachLayerWhatTarExtracts(string face)
    {
        SkipUnlessRoot();
        string view = _lazymount.Mount(debian.Sample, "--view", "layers", "--as", face);
        Assert.Equal(["layers", "merged"], NamesIn(view));
        AssertSame(TreeSnapshot.Take(_lazymount.Mount(debian.Sample)), TreeSnapshot.Take($"{view}/merged"));
        string[] blobs = LayersOf(debian.Sample);
        Assert.Equal(Enumerable.Range(0, blobs.Length).Select(layer => $"{layer:D2}"), NamesIn($"{view}/layers"));
        for (int layer = 0; layer < blobs.Length; layer++)
        {
            string extracted = _lazymount.Directory.CreateDirectory($"extracted{layer}");
            Tool.Run("tar", "-xzpf", blobs[layer], "-C", extracted, "--same-owner", "--numeric-owner", "--delay-directory-restore", "--xattrs", "--xattrs-include=*").EnsureSuccess();
            AssertSame(TreeSnapshot.Take(extracted), TreeSnapshot.Take($"{view}/layers/{layer:D2}"));
        }
        Assert.True(File.Exists($"{view}/layers/04/usr/share/doc/.wh.tzdata"));
        Tool.Run("diff", "-r", "--no-dereference", $"{view}/layers/04/srv", $"{view}/merged/srv").EnsureSuccess();
    }

    [Theory]
    [InlineData("auto")]
    [InlineData("fuse")]
    public void InodeNumbers_TellAllFilesApart_AndDirectoriesAreWhereTheySeem(string face)
    {
        string view = _lazymount.Mount(debian.Sample, "--view", "layers", "--as", face);
        string[][] found = [.. Tool.Run("find", view, "-printf", "%i %n %D %y %P\n").EnsureSuccess().Output.TrimEnd('\n').Split('\n').Select(line => line.Split(' ', 5))];
        Assert.Single(found.DistinctBy(file => file[2])); // one device
        foreach (IGrouping<string, string[]> node in found.GroupBy(file => file[0]))
        {
            string[][] names = [.. node];
            Assert.True(names.Length == (names[0][3] == "d" ? 1 : int.Parse(names[0][1])), $"inode {node.Key} is {string.Join(", ", names.Select(name => name[4]))}");
            Assert.Single(names.DistinctBy(name => string.Join('/', name[4].Split('/').Take(2)))); // no link leads out of a layer
        }
        foreach (string[] directory in found.Where(file => file[3] == "d"))
        {
            int below = found.Count(file => file[3] == "d" && file[4].Length > 0 && (Path.GetDirectoryName(file[4]) ?? "") == directory[4]);
            Assert.Equal(2 + below, int.Parse(directory[1]));
        }
        foreach (string path in (string[])["merged", "layers", "layers/00", "layers/04", "merged/etc", "layers/04/etc"])
            Assert.Equal(Inode($"{view}/{Path.GetDirectoryName(path)}"), Inode($"{view}/{path}/.."));

        static string Inode(string path) => Tool.Run("stat", "-c", "%i", path).EnsureSuccess().Output;
    }

    [Theory]
    [InlineData("auto")]
    [InlineData("fuse")]
    public void EveryVersion_IsRead_ByManyAtRandom(string face)
    {
        var random = new Random(17);
        // More than ten layers; the sixth stands in the image a second time at its end.
        byte[][] versions = [.. Enumerable.Range(0, 11).Select(_ => new byte[random.Next(100_000, 900_000)])];
        Array.ForEach(versions, random.NextBytes);
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        TarBytes[] layers = [.. versions.Select((content, i) => new TarBytes().Directory("./").Directory("d").File("d/f", content).File($"d/only{i}", $"{i}").Whiteout($"d/only{i - 1}"))];
        foreach (TarBytes layer in layers.Append(layers[5]))
            layout.AddLayer(layer);
        layout.WriteImage("v1");
        string view = _lazymount.Mount(layout.Reference("v1"), "--view", "layers", "--as", face);
        (string Path, byte[] Content)[] files =
            [($"{view}/merged/d/f", versions[5]), ($"{view}/layers/11/d/f", versions[5]), .. versions.Select((content, i) => ($"{view}/layers/{i:D2}/d/f", content))];

        Parallel.For(0, Readers, reader =>
        {
            var random = new Random(reader);
            var buffer = new byte[200_000];
            for (int i = 0; i < ReadsPerReader; i++)
            {
                (string path, byte[] content) = files[random.Next(files.Length)];
                using SafeFileHandle file = File.OpenHandle(path);
                int at = random.Next(content.Length), length = Math.Min(random.Next(1, buffer.Length), content.Length - at), read = 0;
                while (read < length && RandomAccess.Read(file, buffer.AsSpan(read, length - read), at + read) is > 0 and int more)
                    read += more;
                Assert.True(content.AsSpan(at, length).SequenceEqual(buffer.AsSpan(0, read)), $"{path} differs in [{at}, {at + length})");
            }
        });
        Assert.All(files, file => Assert.Equal(file.Content, File.ReadAllBytes(file.Path)));
        Assert.Equal([".wh.only9", "f", "only10"], NamesIn($"{view}/layers/10/d"));
        Assert.Equal(["f", "only10", "only5"], NamesIn($"{view}/merged/d"));
    }

    [Fact]
    public void AttributesAndLinks_AreThoseOfTheLayer()
    {
        SkipUnlessRoot();
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./", 0x1C0, TarBytes.OwnedBy(1, 2)).Pax(("SCHILY.xattr.user.x", "low")).File("a", "low", 0x180, TarBytes.OwnedBy(3, 4)).HardLink("b", "a", 0x180, TarBytes.OwnedBy(3, 4)))
            .AddLayer(new TarBytes().Pax(("SCHILY.xattr.user.x", "high")).File("c", "high").HardLink("d/e", "a").HardLink("d/f", "c"));
        layout.WriteImage("v1");
        string directory = _lazymount.NewMountPoint();
        ToolResult mounted = _lazymount.Run("mount", "--view", "layers", layout.Reference("v1"), directory);
        Assert.Equal("lazymount: note: 1 hard link(s) in layers/ lead to files of lower layers and are shown as symbolic links\n", mounted.EnsureSuccess().Error);
        TreeSnapshot view = TreeSnapshot.Take(directory);
        Assert.Equal((1u, 2u, 0x41C0u), (view["/layers/00"].Uid, view["/layers/00"].Gid, view["/layers/00"].Mode));
        Assert.Equal((0u, 0x41EDu), (view["/layers/01"].Uid, view["/layers/01"].Mode)); // not listed by the layer
        Assert.Equal((2u, "/layers/00/a", "user.x=6c6f77"), (view["/layers/00/b"].LinkCount, view["/layers/00/b"].FirstName, view["/layers/00/b"].Xattrs));
        Assert.Equal("../a", view["/layers/01/d/e"].LinkTarget);
        Assert.Equal((2u, "/layers/01/c", "user.x=68696768"), (view["/layers/01/d/f"].LinkCount, view["/layers/01/d/f"].FirstName, view["/layers/01/d/f"].Xattrs));
        Assert.Equal((3u, "/merged/a", "user.x=6c6f77"), (view["/merged/d/e"].LinkCount, view["/merged/d/e"].FirstName, view["/merged/d/e"].Xattrs));
        for (int layer = 0; layer < 2; layer++)
            AssertSame(TreeSnapshot.Take(_lazymount.Mount(layout.Reference("v1"), "--layer", $"{layer}")), TreeSnapshot.Take($"{directory}/layers/{layer:D2}"));
    }

    [Fact]
    public void MountOptions_WorkAsForTheTree_AndListTellsTheView()
    {
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("dir/file", "x").Symlink("link", "/dir"));
        layout.WriteImage("v1");
        string image = layout.Reference("v1");
        // Paths of --prefetch are those of the image.
        string view = _lazymount.Mount(image, "--view", "layers", "--prefetch", "/link/file", "-o", "uid=42", "--verify-full");
        string[] shown = [view, $"{view}/layers", $"{view}/layers/00/dir/file", $"{view}/merged/dir/file"];
        Assert.Equal(string.Concat(shown.Select(_ => "42\n")), Tool.Run("stat", ["-c", "%u", .. shown]).EnsureSuccess().Output);
        Assert.Matches($"  layers +{view} +{image}\n", _lazymount.Run("list").EnsureSuccess().Output);
        using (JsonDocument list = JsonDocument.Parse(_lazymount.Run("list", "--json").EnsureSuccess().Output))
            Assert.Equal("layers", Assert.Single(list.RootElement.EnumerateArray(), mount => mount.GetProperty("mountPoint").GetString() == view).GetProperty("view").GetString());
        string other = _lazymount.NewMountPoint();
        Sentence.AssertOne(_lazymount.Run("mount", "--view", "layers", "--prefetch", "/merged/dir", image, other), 1, "/merged/dir");
        Sentence.AssertOne(_lazymount.Run("mount", "--view", "layers", "--layer", "0", "registry.invalid/never/asked:v1", other), 2, "--view layers", "--layer");
    }

    private static void SkipUnlessRoot() => Assert.SkipUnless(Environment.IsPrivilegedProcess, "tar sets owners, and what an owner alone may read is read, only as root");

    private static string[] NamesIn(string directory) => [.. Directory.EnumerateFileSystemEntries(directory).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private static void AssertSame(TreeSnapshot expected, TreeSnapshot actual)
    {
        string difference = expected.Difference(actual);
        Assert.True(difference.Length == 0, difference);
    }

    // The files of the layers' blobs, lowest first.
    private static string[] LayersOf(string image)
    {
        string layout = image.Split(':')[1];
        using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(layout, "index.json")));
        using JsonDocument manifest = JsonDocument.Parse(File.ReadAllBytes(BlobOf(index.RootElement.GetProperty("manifests")[0])));
        return [.. manifest.RootElement.GetProperty("layers").EnumerateArray().Select(BlobOf)];

        string BlobOf(JsonElement descriptor) => Path.Combine(layout, "blobs", descriptor.GetProperty("digest").GetString()!.Replace(':', '/'));
    }
}
