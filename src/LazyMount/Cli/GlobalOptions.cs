using System.CommandLine;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry;
using LazyMount.Images;
using LazyMount.Indexes.Store;
using LazyMount.Output;

namespace LazyMount.Cli;

/// <summary>How log lines look.</summary>
internal enum LogFormat
{
    Text,
    Json,
}

/// <summary>What the options common to all commands say.</summary>
internal sealed record CommandSettings
{
    public required string CacheDirectory { get; init; }

    /// <summary>Bytes.</summary>
    public long CacheLimit { get; init; } = BlobCache.DefaultLimit;

    /// <summary>Nothing is fetched.</summary>
    public bool Offline { get; init; }

    /// <summary>The compressed bytes of layers that are streamed for their index are kept.</summary>
    public bool KeepsBlobs { get; init; } = true;

    /// <summary>Null means this machine's.</summary>
    public Platform? Platform { get; init; }

    /// <summary>How registries are reached.</summary>
    public RegistryOptions Registries { get; init; } = new();

    /// <summary>Layers are held against their indexes, where others made those.</summary>
    public bool VerifiesFully { get; init; }

    /// <summary>Which published layer indexes are used.</summary>
    public IndexTrust IndexTrust { get; init; }

    /// <summary>Absolute, or null.</summary>
    public string? LogFile { get; init; }

    public LogFormat LogFormat { get; init; }

    public bool Verbose { get; init; }

    /// <summary>Show this layer alone; null means all of them merged.</summary>
    public LayerChoice? Layer { get; init; }

    /// <summary>Merge the layers up to this one; null means all of them. Not together with <see cref="Layer"/>.</summary>
    public LayerChoice? TopLayer { get; init; }

    /// <summary>What the reference led to when this command resolved it before; null: it is resolved.</summary>
    public Digest? Root { get; init; }

    /// <summary>Show each layer beside all of them merged; not together with <see cref="Layer"/>.</summary>
    public bool ShowsLayers { get; init; }

    /// <summary>Where a mount counts.</summary>
    public ServingCounters Counters { get; init; } = new();

    public BlobCache OpenCache() => new(CacheDirectory, CacheLimit) { Counters = Counters };

    /// <summary>What of it is about opening an image.</summary>
    public OpeningOptions ToOpening() => new()
    {
        Cache = OpenCache(),
        Offline = Offline,
        KeepsBlobs = KeepsBlobs,
        Platform = Platform,
        Registries = Registries,
        IndexTrust = IndexTrust,
        Layer = Layer,
        TopLayer = TopLayer,
        Root = Root,
        ShowsLayers = ShowsLayers,
        VerifiesFully = VerifiesFully,
    };
}

/// <summary>The options common to all commands, and those that several have.</summary>
internal sealed class GlobalOptions
{
    public Option<string?> CacheDirectory { get; } = new("--cache-dir")
    {
        Description = "Keep fetched blobs, layer indexes and trees in this directory [$LAZYMOUNT_CACHE]",
        HelpName = "DIR",
        Recursive = true,
    };

    public Option<string?> CacheLimit { get; } = new("--cache-limit")
    {
        Description = "Delete the least recently used files above this size of the cache [10G]",
        HelpName = "SIZE",
        Recursive = true,
    };

    public Option<bool> Offline { get; } = new("--offline")
    {
        Description = "Fetch nothing; fail when the cache lacks something",
        Recursive = true,
    };

    public Option<bool> NoKeep { get; } = new("--no-keep")
    {
        Description = "Do not keep the bytes of a layer that is streamed to be indexed",
        Recursive = true,
    };

    public Option<string?> Platform { get; } = new("--platform")
    {
        Description = "Choose this platform from an image index, such as linux/arm64 [this machine's]",
        HelpName = "OS/ARCH[/VARIANT]",
        Recursive = true,
    };

    public Option<bool> PlainHttp { get; } = new("--plain-http")
    {
        Description = "Use HTTP instead of HTTPS (not needed for registries on this machine)",
        Recursive = true,
    };

    public Option<string[]> Mirrors { get; } = new("--mirror")
    {
        Description = "Ask this mirror of a registry first (repeatable)",
        HelpName = "HOST=URL",
        Recursive = true,
        DefaultValueFactory = _ => [],
    };

    public Option<string?> TlsCa { get; } = new("--tls-ca")
    {
        Description = "Trust the certificates in this PEM file, besides those of the system",
        HelpName = "FILE",
        Recursive = true,
    };

    public Option<bool> TlsVerify { get; } = new("--tls-verify")
    {
        Description = "Check the TLS certificates of servers [true]",
        HelpName = "true|false",
        Recursive = true,
        DefaultValueFactory = _ => true,
    };

    public Option<string?> AuthFile { get; } = new("--authfile")
    {
        Description = "Read credentials from this file only [$REGISTRY_AUTH_FILE]",
        HelpName = "FILE",
        Recursive = true,
    };

    public Option<string?> Creds { get; } = new(GivenCredentials.Option)
    {
        Description = "Use these credentials; other users can see them, --creds-stdin hides them",
        HelpName = "USER[:PASS]",
        Recursive = true,
    };

    public Option<bool> CredsStdin { get; } = new(GivenCredentials.StandardInputOption)
    {
        Description = "Read credentials, USER:PASS in one line, from standard input",
        Recursive = true,
    };

    public Option<string?> ReadTimeout { get; } = new("--read-timeout")
    {
        Description = "Fail a read when its bytes do not come within this time [60s]",
        HelpName = "TIME",
        Recursive = true,
    };

    public Option<string?> IndexTrust { get; } = new("--index-trust")
    {
        Description = "Whose layer indexes to use; see 'lazymount help trust' [auto]",
        HelpName = "auto|bound|registry|none",
        Recursive = true,
    };

    public Option<string?> LogFile { get; } = new("--log-file")
    {
        Description = "Append log lines to this file",
        HelpName = "FILE",
        Recursive = true,
    };

    public Option<string?> LogFormat { get; } = new("--log-format")
    {
        Description = "Write log lines as text, or as JSON with one object a line [text]",
        HelpName = "text|json",
        Recursive = true,
    };

    public Option<bool> Verbose { get; } = new("--verbose", "-v")
    {
        Description = "Add the causes to error messages, and log in detail",
        Recursive = true,
    };

    /// <summary>Of the commands that read a tree: they add it themselves.</summary>
    public Option<string?> Layer { get; } = new("--layer")
    {
        Description = "Read this layer alone: a number (0 is the lowest, -1 the topmost) or the beginning of a digest",
        HelpName = "N|DIGEST",
    };

    public void AddTo(Command root)
    {
        root.Add(CacheDirectory);
        root.Add(CacheLimit);
        root.Add(Offline);
        root.Add(NoKeep);
        root.Add(Platform);
        root.Add(PlainHttp);
        root.Add(Mirrors);
        root.Add(TlsCa);
        root.Add(TlsVerify);
        root.Add(AuthFile);
        root.Add(Creds);
        root.Add(CredsStdin);
        root.Add(ReadTimeout);
        root.Add(IndexTrust);
        root.Add(LogFile);
        root.Add(LogFormat);
        root.Add(Verbose);
    }

    public CommandSettings Read(ParseResult parsed)
    {
        string? logFile = parsed.GetValue(LogFile), cache = parsed.GetValue(CacheDirectory);
        return new CommandSettings
        {
            CacheDirectory = cache switch
            {
                null => StandardDirectory.Cache,
                "" => throw new UsageException("--cache-dir needs a directory"),
                _ => PathText.FullPath(cache),
            },
            CacheLimit = parsed.GetValue(CacheLimit) switch
            {
                null => BlobCache.DefaultLimit,
                { } text => ByteSize.TryParse(text, out long limit) && limit > 0 ? limit : throw new UsageException($"--cache-limit '{text}' is not a size, such as 500M or 20G"),
            },
            Offline = parsed.GetValue(Offline),
            KeepsBlobs = !parsed.GetValue(NoKeep),
            Platform = parsed.GetValue(Platform) is { } platform ? ParsePlatform(platform) : null,
            Registries = ReadRegistries(parsed),
            IndexTrust = parsed.GetValue(IndexTrust) switch
            {
                "auto" or null => Indexes.Store.IndexTrust.Auto,
                "bound" => Indexes.Store.IndexTrust.Bound,
                "registry" => Indexes.Store.IndexTrust.Registry,
                "none" => Indexes.Store.IndexTrust.None,
                string other => throw new UsageException($"--index-trust '{other}' is none of auto, bound, registry and none"),
            },
            LogFile = logFile switch
            {
                null => null,
                "" => throw new UsageException("--log-file needs a file name"),
                _ => PathText.FullPath(logFile),
            },
            LogFormat = parsed.GetValue(LogFormat) switch
            {
                "text" or null => Cli.LogFormat.Text,
                "json" => Cli.LogFormat.Json,
                string other => throw new UsageException($"--log-format '{other}' is neither text nor json"),
            },
            Verbose = parsed.GetValue(Verbose),
            Layer = parsed.GetValue(Layer) is { } layer ? ParseLayer(layer) : null,
        };
    }

    private static MirrorOption ParseMirror(string text)
    {
        try
        {
            return MirrorOption.Parse(text);
        }
        catch (FormatException e)
        {
            throw new UsageException($"--mirror {e.Message}", e);
        }
    }

    private static string ExistingFile(string option, string file)
        => file.Length == 0 ? throw new UsageException($"{option} needs a file name")
            : FileIdentity.TryOf(PathText.FullPath(file)) is { Kind: FileKind.Regular } ? PathText.FullPath(file)
            : throw new UsageException($"{option} '{CommandOutput.Displayable(file)}' is not a file");

    private RegistryOptions ReadRegistries(ParseResult parsed)
    {
        var options = new RegistryOptions
        {
            PlainHttp = parsed.GetValue(PlainHttp),
            Mirrors = [.. (parsed.GetValue(Mirrors) ?? []).Select(ParseMirror)],
            TlsCaFile = parsed.GetValue(TlsCa) is { } ca ? ExistingFile("--tls-ca", ca) : null,
            VerifiesTls = parsed.GetValue(TlsVerify),
            AuthFile = parsed.GetValue(AuthFile) is { } authFile ? ExistingFile("--authfile", authFile) : null,
            Credentials = GivenCredentials.Read(parsed.GetValue(Creds), parsed.GetValue(CredsStdin)),
        };
        return parsed.GetValue(ReadTimeout) switch
        {
            null => options,
            { } text => Duration.TryParse(text, out TimeSpan time) ? options with { ReadTimeout = time } : throw new UsageException($"--read-timeout '{text}' is not a time up to a day, such as 30s or 2m"),
        };
    }

    private static LayerChoice ParseLayer(string text)
    {
        try
        {
            return LayerChoice.Parse(text);
        }
        catch (FormatException e)
        {
            throw new UsageException($"--layer {e.Message}", e);
        }
    }

    private static Platform ParsePlatform(string text)
    {
        try
        {
            return Blobs.Oci.Platform.Parse(text);
        }
        catch (FormatException e)
        {
            throw new UsageException($"--platform: {e.Message}", e);
        }
    }
}
