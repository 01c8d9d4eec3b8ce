using LazyMount.TestKit;

namespace LazyMount.MountTests.Node;

/// <summary>An image that runs: busybox in its lowest layer, and above it what layers and containers are about.</summary>
internal static class NodeImage
{
    private static readonly byte[] s_busybox = File.ReadAllBytes("/usr/bin/busybox");

    /// <summary>Layers of the image, lowest first.</summary>
    public static TarBytes[] Layers { get; } =
    [
        Base("base"),
        new TarBytes().Whiteout("gone/file").Opaque("opaque").File("opaque/upper", "upper").File("data/two", "two").HardLink("data/link", "data/two")
            .File("data/suid", "#!/bin/sh\n", 0b100_111_101_101).CharacterDevice("dev0", 1, 5),
        new TarBytes().Pax(("SCHILY.xattr.security.capability", "\u0001\u0000\u0000\u0002\u0000\u0004\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000"))
            .File("bin/ping", "#!/bin/sh\n", 0b111_101_101).File("data/top", "top"),
    ];

    /// <summary>A layer with a shell, told from others by <paramref name="name"/>.</summary>
    public static TarBytes Base(string name)
    {
        TarBytes tar = new TarBytes().Directory("./").Directory("bin").Directory("data").Directory("proc").Directory("sys").Directory("dev").Directory("etc").Directory("tmp", 0b001_111_111_111)
            .File("bin/busybox", s_busybox, 0b111_101_101);
        foreach (string applet in (string[])["sh", "cat", "ls", "stat", "echo", "sleep", "touch", "md5sum", "id", "head", "dd", "find", "wc", "true", "test", "grep", "seq", "chmod"])
        {
            tar.Symlink($"bin/{applet}", "busybox");
        }
        return tar.File("data/file", "lower").File("gone/file", "x").File("opaque/lower", "x").File("etc/passwd", "root:x:0:0:root:/:/bin/sh\n").File("name", name);
    }

    /// <summary>The chain ids (image-spec) of layers, lowest first: what containerd knows their trees by.</summary>
    public static string[] ChainIds(params TarBytes[] layers)
    {
        var chain = new List<string>();
        foreach (TarBytes layer in layers)
        {
            string diffId = OciLayoutBuilder.DigestOf(layer.ToArray());
            chain.Add(chain.Count == 0 ? diffId : OciLayoutBuilder.DigestOf(System.Text.Encoding.ASCII.GetBytes($"{chain[^1]} {diffId}")));
        }
        return [.. chain];
    }

    /// <summary>Writes an image of layers; its reference in a layout.</summary>
    public static string Write(string directory, params TarBytes[] layers)
    {
        // What a pause container runs.
        var layout = new OciLayoutBuilder(directory) { Command = ["/bin/sleep", "100000"] };
        foreach (TarBytes layer in layers)
        {
            layout.AddLayer(layer);
        }
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }
}
