using System.Globalization;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Hosts;
using LazyMount.Indexes.Store;
using LazyMount.Node.Credentials;

namespace LazyMount.Node.Configuration;

/// <summary>What the configuration file says; every key has a default. docs/node.toml is the commented file.</summary>
internal sealed record NodeConfiguration
{
    public const string DefaultPath = "/etc/lazymount/node.toml";

    /// <summary>The commented file.</summary>
    public static string Text
    {
        get
        {
            using var reader = new StreamReader(typeof(NodeConfiguration).Assembly.GetManifestResourceStream("node.toml")!);
            return reader.ReadToEnd();
        }
    }

    private static readonly string[] s_keys =
        ["socket", "root", "program", "log_format", "verbose", "metrics", "prepare_timeout", "prepare_stall", "cache", "registries", "cri", "csi", "credential_provider"];

    private static readonly string[] s_cacheKeys = ["directory", "limit"];

    private static readonly string[] s_registryKeys = ["authfile", "plain_http", "tls_verify", "tls_ca", "mirrors", "index_trust", "read_timeout"];

    private static readonly string[] s_criKeys = ["image_service"];

    private static readonly string[] s_providerKeys = ["command", "args", "match_images"];

    private static readonly string[] s_csiKeys = ["socket", "registration", "kubelet_dir", "node_id"];

    /// <summary>Where containerd, and the kubelet, connect.</summary>
    public string Socket { get; private init; } = "/run/lazymount/node.sock";

    /// <summary>Where snapshots are: records, upper directories of containers, and the places of mounts. On a file system that overlayfs can write to. The kubelet looks for free space there with containerd 1.6.</summary>
    public string Root { get; private init; } = "/var/lib/containerd/io.containerd.snapshotter.v1.lazymount";

    /// <summary>The lazymount program. Null: the one beside this program, else the one in PATH.</summary>
    public string? Program { get; private init; }

    /// <summary>Log lines are JSON objects.</summary>
    public bool LogsJson { get; private init; }

    public bool Verbose { get; private init; }

    /// <summary>Where counters are served over HTTP: "127.0.0.1:PORT", or null.</summary>
    public System.Net.IPEndPoint? Metrics { get; private init; }

    /// <summary>How long a pull waits for the indexes of its image; the ordinary pull goes on then.</summary>
    public TimeSpan PrepareTimeout { get; private init; } = TimeSpan.FromMinutes(10);

    /// <summary>The same, when not a byte comes in this time.</summary>
    public TimeSpan PrepareStall { get; private init; } = TimeSpan.FromSeconds(20);

    public string CacheDirectory { get; private init; } = StandardDirectory.Cache;

    /// <summary>Bytes.</summary>
    public long CacheLimit { get; private init; } = BlobCache.DefaultLimit;

    /// <summary>How registries are reached, credentials of single references aside.</summary>
    public RegistryOptions Registries { get; private init; } = new();

    public IndexTrust IndexTrust { get; private init; }

    /// <summary>The socket of the CRI image service that pulls are passed on to; null: there is no such proxy.</summary>
    public string? ImageService { get; private init; }

    /// <summary>Who is asked for credentials, in this order.</summary>
    public IReadOnlyList<CredentialProvider> CredentialProviders { get; private init; } = [];

    /// <summary>The socket of the CSI driver; null: there is none.</summary>
    public string? CsiSocket { get; private init; }

    /// <summary>Where the kubelet looks for the sockets of plugins that register with it.</summary>
    public string? CsiRegistration { get; private init; }

    /// <summary>Volumes are mounted nowhere else.</summary>
    public string KubeletDirectory { get; private init; } = "/var/lib/kubelet";

    public string NodeId { get; private init; } = Environment.MachineName;

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isOptional">The defaults count when there is no file.</param>
    /// <exception cref="ImageException">It is not there, or cannot be used; says why in a sentence.</exception>
    public static NodeConfiguration Read(string path, bool isOptional)
    {
        if (TomlFile.TryRead(path) is not { } file)
        {
            return isOptional ? new NodeConfiguration() : throw new ImageException(ImageError.Local, $"cannot read the configuration '{path}': there is no such file; lazymount-node config prints one");
        }
        Know(file, s_keys);
        TomlFile? cache = file.Table("cache"), registries = file.Table("registries"), cri = file.Table("cri"), csi = file.Table("csi");
        Know(cache, s_cacheKeys);
        Know(registries, s_registryKeys);
        Know(cri, s_criKeys);
        Know(csi, s_csiKeys);
        var defaults = new NodeConfiguration();
        return new NodeConfiguration
        {
            Socket = SocketPath(file, "socket") ?? defaults.Socket,
            Root = OverlayPath(file, "root") ?? defaults.Root,
            Program = AbsolutePath(file, "program"),
            LogsJson = file.Text("log_format") switch
            {
                null or "text" => false,
                "json" => true,
                _ => throw file.Wrong("log_format", "text or json"),
            },
            Verbose = file.Flag("verbose"),
            Metrics = file.Text("metrics") is { } address ? Loopback(file, address) : null,
            PrepareTimeout = Time(file, "prepare_timeout") ?? defaults.PrepareTimeout,
            PrepareStall = Time(file, "prepare_stall") ?? defaults.PrepareStall,
            CacheDirectory = AbsolutePath(cache, "directory") ?? defaults.CacheDirectory,
            CacheLimit = Size(cache, "limit") ?? defaults.CacheLimit,
            Registries = new RegistryOptions
            {
                AuthFile = AbsolutePath(registries, "authfile"),
                PlainHttp = registries?.Flag("plain_http") ?? false,
                VerifiesTls = registries?.Has("tls_verify") != true || registries.Flag("tls_verify"),
                TlsCaFile = AbsolutePath(registries, "tls_ca"),
                Mirrors = [.. (registries?.Texts("mirrors") ?? []).Select(text => Mirror(registries!, text))],
                ReadTimeout = Time(registries, "read_timeout") ?? defaults.Registries.ReadTimeout,
            },
            IndexTrust = registries?.Text("index_trust") switch
            {
                null or "auto" => IndexTrust.Auto,
                "bound" => IndexTrust.Bound,
                "registry" => IndexTrust.Registry,
                "none" => IndexTrust.None,
                _ => throw registries.Wrong("index_trust", "auto, bound, registry or none"),
            },
            ImageService = SocketPath(cri, "image_service"),
            CredentialProviders = [.. file.Tables("credential_provider").Select(Provider)],
            CsiSocket = SocketPath(csi, "socket"),
            CsiRegistration = SocketPath(csi, "registration"),
            KubeletDirectory = AbsolutePath(csi, "kubelet_dir") ?? defaults.KubeletDirectory,
            NodeId = csi?.Text("node_id") ?? defaults.NodeId,
        };
    }

    private static CredentialProvider Provider(TomlFile table)
    {
        Know(table, s_providerKeys);
        return new CredentialProvider(
            AbsolutePath(table, "command") ?? throw table.Wrong("command", "there: a provider needs one"),
            table.Texts("args"),
            table.Texts("match_images") is { Count: > 0 } images ? images : throw table.Wrong("match_images", "there: a provider needs images"));
    }

    // A key that is spelled wrong would be a default that nobody meant.
    private static void Know(TomlFile? table, string[] keys)
    {
        if (table?.Keys.FirstOrDefault(key => !keys.Contains(key, StringComparer.OrdinalIgnoreCase)) is { } unknown)
        {
            throw table.Wrong(unknown, $"a known key (known are {string.Join(", ", keys)})");
        }
    }

    private static string? AbsolutePath(TomlFile? table, string key) => table?.Text(key) switch
    {
        null => null,
        { Length: > 1 } path when Path.IsPathRooted(path) && !path.Contains('\0', StringComparison.Ordinal) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)),
        _ => throw table.Wrong(key, "an absolute path"),
    };

    // Containers' mounts are named in options that commas and colons divide.
    private static string? OverlayPath(TomlFile table, string key)
        => AbsolutePath(table, key) is { } path && path.AsSpan().ContainsAny(",:\\ \n") ? throw table.Wrong(key, "a path without commas, colons, spaces and backslashes") : AbsolutePath(table, key);

    private static string? SocketPath(TomlFile? table, string key)
    {
        string? text = table?.Text(key);
        const string Scheme = "unix://";
        if (text?.StartsWith(Scheme, StringComparison.Ordinal) == true)
        {
            text = text[Scheme.Length..];
        }
        const int Longest = 107; // sun_path of unix(7)
        return text is null ? null
            : Path.IsPathRooted(text) && PathText.Encode(text).Length <= Longest ? text
            : throw table!.Wrong(key, $"an absolute path of at most {Longest} bytes");
    }

    private static System.Net.IPEndPoint Loopback(TomlFile file, string text)
        => System.Net.IPEndPoint.TryParse(text, out System.Net.IPEndPoint? address) && address.Port != 0 && System.Net.IPAddress.IsLoopback(address.Address)
            ? address
            : throw file.Wrong("metrics", "an address of this machine with a port, such as 127.0.0.1:9478");

    private static MirrorOption Mirror(TomlFile table, string text)
    {
        try
        {
            return MirrorOption.Parse(text);
        }
        catch (FormatException)
        {
            throw table.Wrong("mirrors", "an array of HOST=URL, such as docker.io=https://mirror.example");
        }
    }

    private static TimeSpan? Time(TomlFile? table, string key)
    {
        if (table?.Text(key) is not { } text)
        {
            return null;
        }
        double seconds = text.Length < 2 ? 0 : text[^1] switch { 's' => 1, 'm' => 60, 'h' => 3600, _ => 0 };
        return seconds > 0 && double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number) && number * seconds is > 0 and <= 86400
            ? TimeSpan.FromSeconds(number * seconds)
            : throw table.Wrong(key, "a time up to a day, such as 30s or 2m");
    }

    private static long? Size(TomlFile? table, string key)
    {
        if (table?.Text(key) is not { } text)
        {
            return null;
        }
        int shift = text.Length < 2 ? -1 : char.ToUpperInvariant(text[^1]) switch { 'M' => 20, 'G' => 30, 'T' => 40, _ => -1 };
        return shift > 0 && long.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number > 0 && number < 1L << (62 - shift)
            ? number << shift
            : throw table.Wrong(key, "a size, such as 500M or 20G");
    }
}
