using LazyMount.TestKit;

namespace LazyMount.MountTests.Zoo;

/// <summary>Programs that unpack images and that we did not write.</summary>
public enum Oracle
{
    /// <summary>containerd with its overlayfs snapshotter: what containers see.</summary>
    Containerd,

    /// <summary>umoci unpack: every layer applied to one directory.</summary>
    Umoci,

    /// <summary>GNU tar for each layer, the kernel's overlayfs over them: <see cref="OverlayMount"/>.</summary>
    Overlay,
}

/// <summary>
/// One small image with one feature, and by hand what it shows (as <see cref="TreeText"/> writes it) or that it is refused.
/// Where an oracle sees something else, the case says what, and why we do not follow.
/// </summary>
public sealed class ZooCase(string name)
{
    private readonly List<(byte[] Blob, string MediaType, byte[] Tar)> _layers = [];
    private readonly Dictionary<Oracle, string> _differences = [];

    public string Name { get; } = name;

    /// <summary>The tree, or null when the image is refused.</summary>
    public string? Tree { get; private set; }

    /// <summary>What the refusal says, or null.</summary>
    public string? Refusal { get; private set; }

    /// <summary>The layers' uncompressed tars, lowest first.</summary>
    public IReadOnlyList<byte[]> Tars => [.. _layers.Select(layer => layer.Tar)];

    public override string ToString() => Name;

    /// <summary>A layer of these entries, gzipped.</summary>
    public ZooCase Layer(Func<TarBytes, TarBytes> entries) => Layer(entries(new TarBytes()).ToArray());

    /// <summary>A layer of these bytes of tar, gzipped.</summary>
    public ZooCase Layer(byte[] tar) => Layer(OciLayoutBuilder.Gzip(tar), OciLayoutBuilder.GzipLayer, tar);

    /// <summary>A layer whose blob is given as it is.</summary>
    /// <param name="blob">What the image holds.</param>
    /// <param name="mediaType">What the manifest calls it.</param>
    /// <param name="tar">What it decompresses to.</param>
    public ZooCase Layer(byte[] blob, string mediaType, byte[] tar)
    {
        _layers.Add((blob, mediaType, tar));
        return this;
    }

    /// <summary>The whole tree, lines in order of path; the root's line may be left out when it is a made-up one.</summary>
    public ZooCase Shows(string tree)
    {
        string rootless = tree.ReplaceLineEndings("\n");
        Tree = rootless.Split('\n').Any(line => line.Split(' ') is [_, _, "/", ..])
            ? rootless : ("drwxr-xr-x 0:0 / @-\n" + rootless).TrimEnd('\n');
        return this;
    }

    /// <summary>Mounting fails with one sentence that holds this.</summary>
    public ZooCase Refused(string reason)
    {
        Refusal = reason;
        return this;
    }

    /// <summary>
    /// An oracle that sees something else: lines of ours that it has not ("- …"), lines that only it has ("+ …");
    /// <see cref="Refuses"/> when it refuses the image. And why we do not follow.
    /// </summary>
    public ZooCase Except(Oracle oracle, string difference, string because)
    {
        ArgumentException.ThrowIfNullOrEmpty(because);
        _differences.Add(oracle, difference.ReplaceLineEndings("\n"));
        return this;
    }

    /// <summary>Where an oracle refuses the image.</summary>
    public const string Refuses = "refuses";

    /// <summary>What is known of an oracle, empty when it agrees.</summary>
    public string DifferenceOf(Oracle oracle) => _differences.GetValueOrDefault(oracle, Refusal is null ? "" : Refuses);

    /// <summary>Writes it as the image "v1" of a layout; returns the reference.</summary>
    public string Write(string directory)
    {
        var layout = new OciLayoutBuilder(directory);
        foreach ((byte[] blob, string mediaType, byte[] tar) in _layers)
        {
            layout.AddLayer(blob, mediaType, OciLayoutBuilder.DigestOf(tar));
        }
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }
}
