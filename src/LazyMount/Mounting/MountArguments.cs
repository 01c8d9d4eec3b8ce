using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Images;
using LazyMount.Metrics;

namespace LazyMount.Mounting;

/// <summary>What of an image a mount shows.</summary>
internal enum MountView
{
    /// <summary>Its files.</summary>
    Tree,

    /// <summary>One file, a file system image.</summary>
    ImageFile,

    /// <summary>Its files in one directory, and in others those of each layer.</summary>
    Layers,
}

/// <summary>What `mount` was asked to do, checked as far as that goes without the network.</summary>
/// <param name="Image">The image.</param>
/// <param name="Directory">Where to mount it, as the user wrote it.</param>
/// <param name="Options">The options of <c>-o</c>.</param>
/// <param name="Prefetch">The words of <c>--prefetch</c>.</param>
/// <param name="View">What to show.</param>
/// <param name="Face">By which file system of the kernel to show it; null for the best that can be had.</param>
/// <param name="WhyFuse">What was asked for that only FUSE can do, as a clause; null when EROFS can do all of it.</param>
internal sealed record MountRequest(
    ImageReference Image, string Directory, MountOptions Options, IReadOnlyList<string> Prefetch, MountView View, MountFace? Face, string? WhyFuse)
{
    /// <summary>Where to serve the counters of the mount; null for nowhere.</summary>
    public MetricsAddress? Metrics { get; init; }
}

/// <summary>The arguments of `mount`, which its daemon is given again.</summary>
internal sealed class MountArguments
{
    /// <summary>The option for <see cref="MountRequest.Metrics"/>.</summary>
    public const string MetricsOption = "--metrics";

    private readonly Argument<string> _image = ImageArgument.Create();
    private readonly Argument<string> _directory = new("DIR") { Description = "An empty directory to mount on" };

    private readonly Option<string[]> _options = new("--options", "-o")
    {
        Description = "Options as of mount(8), separated by commas: allow_other, uid=N, gid=N, umask=MASK, noexec, and for root suid, dev (lazymount help fstab)",
        HelpName = "OPTIONS",
        DefaultValueFactory = _ => [],
    };

    private readonly Option<string[]> _prefetch = new("--prefetch")
    {
        Description = "Prefetch in the background: all, none, or a path in the image (repeatable) [the image's own prefetch list]",
        HelpName = "all|none|PATH",
        DefaultValueFactory = _ => [],
    };

    private readonly Option<string?> _layers = new("--layers")
    {
        Description = "Merge the layers from the lowest up to this one, and leave out those above: 0..2, 0..-2 or 0..DIGEST",
        HelpName = "0..N",
    };

    // For who has resolved the reference before. It does not count as a digest in the reference, which would vouch for more.
    private readonly Option<string?> _resolved = new("--resolved") { Description = "Mount the manifest with this digest, which the reference led to before", HelpName = "DIGEST", Hidden = true };

    private readonly Option<bool> _verify = new("--verify-full")
    {
        Description = "Download layers whose own digest does not vouch for them, verify them in the background, and fail the mount if one lies (so does --prefetch all)",
    };

    private readonly Option<string?> _view = new("--view")
    {
        Description = "What to show: tree: the image's files; layers: those in merged/, and each layer as it is, whiteouts as files, in layers/NN/; image-file: one file, image.erofs, a file system image for virtual machines and loop devices [tree]",
        HelpName = "tree|layers|image-file",
    };

    private readonly Option<string?> _as = new("--as")
    {
        Description = "Which file system of the kernel shows the image: erofs (root only, faster), fuse, or auto: erofs where it can be had [auto]",
        HelpName = "auto|erofs|fuse",
    };

    private readonly Option<string?> _metrics = new(MetricsOption)
    {
        Description = "Serve counters of the mount as Prometheus text, at http://ADDRESS:PORT/metrics (a port alone: on this machine only) or on a unix socket [off]",
        HelpName = "ADDRESS:PORT|unix:PATH",
    };

    /// <summary>Stay in front.</summary>
    public Option<bool> Foreground { get; } = new("--foreground", "-f") { Description = "Stay in front, log to standard error, unmount at Ctrl-C" };

    /// <summary>Only check the arguments: for <see cref="MountHelper"/>.</summary>
    public Option<bool> Fake { get; } = new("--fake") { Description = "Check the arguments, mount nothing", Hidden = true };

    public void AddTo(Command command, CommandHost host)
    {
        command.Add(Fake);
        command.Add(_image);
        command.Add(_directory);
        command.Add(Foreground);
        command.Add(_options);
        command.Add(_prefetch);
        command.Add(_verify);
        command.Add(_view);
        command.Add(_as);
        command.Add(_metrics);
        command.Add(host.Options.Layer);
        command.Add(_layers);
        command.Add(_resolved);
    }

    /// <exception cref="UsageException">An argument is wrong.</exception>
    public MountRequest Read(ParseResult parsed, ref CommandSettings settings)
    {
        // :: Step 1: everything that can be refused at once is refused before any network.
        // What is fetched whole is verified whole.
        settings = settings with { VerifiesFully = parsed.GetValue(_verify) || parsed.GetValue(_prefetch) is ["all"] };
        MountFace? face = parsed.GetValue(_as) switch
        {
            null or "auto" => null,
            "erofs" => MountFace.Erofs,
            "fuse" => MountFace.Fuse,
            string other => throw new UsageException($"--as '{other}' is none of auto, erofs and fuse"),
        };
        var request = new MountRequest(
            ImageArgument.Parse(parsed.GetRequiredValue(_image)),
            parsed.GetRequiredValue(_directory) is { Length: > 0 } named ? named : throw new UsageException("mount needs a directory"),
            MountOptions.Parse(parsed.GetValue(_options) ?? [], Environment.IsPrivilegedProcess),
            PrefetchWords(parsed.GetValue(_prefetch) ?? []),
            parsed.GetValue(_view) switch
            {
                null or "tree" => MountView.Tree,
                "image-file" => MountView.ImageFile,
                "layers" => MountView.Layers,
                string other => throw new UsageException($"--view '{other}' is none of tree, layers and image-file"),
            },
            face,
            face == MountFace.Fuse ? "--as fuse" : null)
        {
            Metrics = parsed.GetValue(_metrics) is { } address ? MetricsAddress.Parse(address) : null,
        };
        settings = settings with { ShowsLayers = request.View == MountView.Layers, TopLayer = parsed.GetValue(_layers) is { } layers ? ParseTop(layers) : null };
        if (parsed.GetValue(_resolved) is { } resolved)
        {
            settings = settings with { Root = Digest.TryParse(resolved, out Digest root) ? root : throw new UsageException($"--resolved '{resolved}' is not a digest, such as sha256:…") };
        }
        if (settings is { Layer: not null, TopLayer: not null })
        {
            throw new UsageException("--layer shows one layer alone, and --layers several merged: leave out one of the two");
        }
        if (settings is { ShowsLayers: true, TopLayer: not null })
        {
            throw new UsageException("--view layers shows all layers: leave out --layers, or --view");
        }
        if (settings is { ShowsLayers: true, Layer: not null })
        {
            throw new UsageException("--view layers shows all layers: leave out --layer, or --view");
        }
        // What the kernel has in its caches of EROFS cannot be taken back, and it has no options for owners.
        string? onlyFuse = request.View == MountView.ImageFile ? "--view image-file shows one file"
            : parsed.GetValue(_verify) ? "with --verify-full, files must fail later, and EROFS cannot take back what the kernel has cached"
            : settings.VerifiesFully ? "with --prefetch all, files must fail later, and EROFS cannot take back what the kernel has cached"
            : request.Options is { Uid: not null } or { Gid: not null } or { Umask: not 0 } ? "EROFS has no uid=, gid= and umask= options"
            : null;
        return face == MountFace.Erofs && onlyFuse is not null
            ? throw new UsageException($"cannot use --as erofs: {onlyFuse}; leave out one of the two, or use --as fuse")
            : request with { WhyFuse = request.WhyFuse ?? onlyFuse };
    }

    /// <summary>The name of a view in `--view` and `list`.</summary>
    public static string NameOf(MountView view) => view switch
    {
        MountView.ImageFile => "image-file",
        MountView.Layers => "layers",
        _ => "tree",
    };

    /// <summary>The name of a face in `--as` and `list`.</summary>
    public static string NameOf(MountFace face) => face == MountFace.Erofs ? "erofs" : "fuse";

    private static LayerChoice ParseTop(string text)
    {
        try
        {
            return LayerChoice.ParseTop(text);
        }
        catch (FormatException e)
        {
            throw new UsageException($"--layers {e.Message}", e);
        }
    }

    private static string[] PrefetchWords(string[] words)
        => words.Length > 1 && words.Any(word => word is "all" or "none")
            ? throw new UsageException("cannot use --prefetch all or --prefetch none with other values: each must be alone; for a file of that name write ./all or ./none")
            : words;
}
