using System.Globalization;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Simulation;

/// <summary>How one layer of a drawn image is written.</summary>
internal enum LayerFormat
{
    Gzip,
    GzipMembers,
    ZstdFrames,
    ZstdOneFrame,
    Plain,
}

/// <summary>
/// An image drawn from a seed, and its oracle: the tree that umoci unpacks from the same tars. The oracle's layers are always gzip;
/// the layers that lazymount reads have drawn formats.
/// </summary>
internal sealed class WorldImage
{
    private const int KiB = 1 << 10, MiB = 1 << 20;

    private readonly Random _random;
    private readonly HashSet<string> _files = new(StringComparer.Ordinal); // of the layers so far, merged
    private int _names;

    public WorldImage(Random random, TemporaryDirectory directory)
    {
        _random = random;
        byte[][] tars = [.. Enumerable.Range(0, random.Next(1, 5)).Select(DrawLayer)];
        IsZstdChunked = random.Next(6) == 0;
        Formats = [.. tars.Select(_ => IsZstdChunked ? LayerFormat.Gzip : (LayerFormat)random.Next(Enum.GetValues<LayerFormat>().Length))];

        var layout = new OciLayoutBuilder(directory["layout"]);
        foreach ((byte[] tar, LayerFormat format) in tars.Zip(Formats))
            Add(layout, tar, format, directory);
        layout.WriteImage("v1");
        LayoutDirectory = layout.Directory;
        if (IsZstdChunked)
        {
            LayoutDirectory = directory["chunked"];
            Skopeo.ConvertToZstdChunked(layout.Directory, LayoutDirectory, "v1");
        }
        BlobBytes = Directory.GetFiles(Path.Combine(LayoutDirectory, "blobs"), "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);

        var oracle = new OciLayoutBuilder(directory["oracle"]);
        Array.ForEach(tars, tar => oracle.AddLayer(tar));
        oracle.WriteImage("v1");
        string unpacked = Umoci.Unpack(oracle.Reference("v1"), directory["unpacked"]);
        Tree = new WorldTree(unpacked, "1577836800.000000000");
        Tool.Run("rm", "-rf", directory["unpacked"], directory["oracle"]);
    }

    public string LayoutDirectory { get; }

    public LayerFormat[] Formats { get; }

    public bool IsZstdChunked { get; }

    /// <summary>Bytes of all blobs.</summary>
    public long BlobBytes { get; }

    public WorldTree Tree { get; }

    /// <summary>Some bytes of this image are read from a file in the cache that only another pass over the layer can make again.</summary>
    public bool IsTranscoded => Formats.Contains(LayerFormat.ZstdOneFrame);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{(IsZstdChunked ? "zstd:chunked" : string.Join('+', Formats))}, {Tree.Paths.Length} paths, {BlobBytes / KiB} KiB");

    private byte[] DrawLayer(int number)
    {
        var tar = new TarBytes();
        var mine = new HashSet<string>(StringComparer.Ordinal);
        string[] below = [.. _files.Order(StringComparer.Ordinal)];
        string[] directories = [.. Enumerable.Range(0, 6).Select(i => $"d{i}"), "d1/e", "d1/e/f f"];
        tar.Directory("./");
        foreach (string each in directories)
            tar.Directory(each);
        if (number > 0 && _random.Next(3) == 0)
        {
            string opaque = directories[_random.Next(6)];
            tar.Opaque(opaque);
            _files.RemoveWhere(path => path.StartsWith(opaque + "/", StringComparison.Ordinal));
            below = [.. below.Where(_files.Contains)];
        }
        if (number == 0 && _random.Next(2) == 0)
        {
            tar.Directory("many");
            for (int i = _random.Next(100, 900); i > 0; i--)
                AddFile($"many/name-of-some-length-{i}", 20);
        }
        for (int i = _random.Next(8, 60), budget = 4 * MiB; i > 0 && budget > 0; i--)
        {
            bool replaces = below.Length > 0 && _random.Next(5) == 0;
            string path = replaces ? below[_random.Next(below.Length)] : NewName();
            if (mine.Contains(path))
                continue;
            if (_random.Next(6) == 0)
                tar.Pax(("SCHILY.xattr.user.drawn", new string('v', _random.Next(1, 300))));
            int size = _random.Next(8) switch { 0 => 0, < 4 => _random.Next(1000), < 7 => _random.Next(80_000), _ => _random.Next(100_000, 1_500_000) };
            budget -= size;
            AddFile(path, size);
            if (_random.Next(8) == 0)
                AddName(NewName(), name => tar.HardLink(name, path));
            if (_random.Next(8) == 0)
                AddName(NewName(), name => tar.Symlink(name, _random.Next(3) == 0 ? "nowhere/at all" : "/" + path));
        }
        foreach (string hidden in below.Where(path => !mine.Contains(path)).OrderBy(_ => _random.Next()).Take(_random.Next(6)))
        {
            tar.Whiteout(hidden);
            _files.Remove(hidden);
        }
        _files.UnionWith(mine);
        return tar.ToArray();

        string NewName() => $"{directories[_random.Next(directories.Length)]}/n{_names++}";

        void AddFile(string path, int size) => AddName(path, name => tar.File(name, Content(size)));

        void AddName(string path, Action<string> add)
        {
            add(path);
            mine.Add(path);
        }
    }

    // Some compress by a quarter, some to nothing.
    private byte[] Content(int size)
    {
        byte[] bytes = new byte[size];
        _random.NextBytes(_random.Next(6) == 0 ? bytes.AsSpan(0, Math.Min(size, 40)) : bytes);
        foreach (ref byte value in bytes.AsSpan())
            value &= 0x3F;
        return bytes;
    }

    private static void Add(OciLayoutBuilder layout, byte[] tar, LayerFormat format, TemporaryDirectory directory)
    {
        string diffId = OciLayoutBuilder.DigestOf(tar);
        switch (format)
        {
            case LayerFormat.Gzip:
                layout.AddLayer(tar);
                break;
            case LayerFormat.GzipMembers:
                layout.AddLayer([.. tar.Chunk(300_000).SelectMany(OciLayoutBuilder.Gzip)], OciLayoutBuilder.GzipLayer, diffId);
                break;
            case LayerFormat.Plain:
                layout.AddLayer(tar, OciLayoutBuilder.TarLayer, diffId);
                break;
            default:
                File.WriteAllBytes(directory["tar"], tar);
                string command = format == LayerFormat.ZstdFrames ? "split -b 300K --filter='zstd -qc' \"$1\" > \"$2\"" : "zstd -qfc \"$1\" > \"$2\"";
                Tool.Shell(command, directory["tar"], directory["tar.zst"]).EnsureSuccess();
                layout.AddLayer(File.ReadAllBytes(directory["tar.zst"]), OciLayoutBuilder.TarLayer + "+zstd", diffId);
                break;
        }
    }
}
