using System.Globalization;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>A containerd hosts.toml (containerd docs/hosts.md): the hosts that are asked for a registry, in the order of the file.</summary>
internal static class HostsToml
{
    public const string FileName = "hosts.toml";

    /// <summary>The hosts, and last the server: the registry itself, unless the file names another.</summary>
    /// <param name="file">The file.</param>
    /// <param name="upstream">The registry itself.</param>
    /// <exception cref="ImageException">A value is wrong.</exception>
    public static IReadOnlyList<RegistryEndpoint> Read(TomlFile file, RegistryEndpoint upstream)
    {
        var endpoints = new List<RegistryEndpoint>();
        if (file.Table("host") is { } hosts)
        {
            foreach (string url in hosts.Keys)
                endpoints.Add(Read(hosts.Table(url)!, url, upstream));
        }
        endpoints.Add(Read(file, file.Text("server") ?? "", upstream));
        return endpoints;
    }

    private static RegistryEndpoint Read(TomlFile table, string url, RegistryEndpoint upstream)
    {
        string directory = Path.GetDirectoryName(table.Path)!;
        IReadOnlyList<string> capabilities = table.Texts("capabilities");
        foreach (string capability in capabilities)
        {
            if (capability is not ("pull" or "resolve" or "push"))
                throw table.Wrong("capabilities", $"a list of pull, resolve and push, for it holds \"{Printable.Of(capability)}\"");
        }
        RegistryEndpoint endpoint = url.Length == 0 ? upstream : At(table, url, upstream);
        bool isMirror = endpoint.Host != upstream.Host;
        return endpoint with
        {
            IsMirror = isMirror,
            Namespace = isMirror ? upstream.Host : null,
            CanPull = capabilities.Count == 0 || capabilities.Contains("pull"),
            CanResolve = capabilities.Count == 0 || capabilities.Contains("resolve"),
            CanPush = capabilities.Count == 0 || capabilities.Contains("push"),
            Headers = [.. table.Table("header") is { } headers ? headers.Keys.SelectMany(name => headers.Texts(name).Select(value => KeyValuePair.Create(name, value))) : []],
            DialTimeout = table.Text("dial_timeout") is { } text ? ParseDuration(text) ?? throw table.Wrong("dial_timeout", "a duration, such as \"10s\"") : null,
            Tls = new EndpointTls
            {
                IsVerified = upstream.Tls.IsVerified && !table.Flag("skip_verify"),
                CaFiles = [.. upstream.Tls.CaFiles, .. table.Texts("ca").Select(path => Path.Combine(directory, path))],
                ClientCertificates = [.. table.TextLists("client").Select(pair => pair.Count switch
                {
                    1 => new ClientCertificateFiles(Path.Combine(directory, pair[0]), Path.Combine(directory, pair[0])),
                    2 => new ClientCertificateFiles(Path.Combine(directory, pair[0]), Path.Combine(directory, pair[1].Length == 0 ? pair[0] : pair[1])),
                    _ => throw table.Wrong("client", "a list of files, or of pairs of a certificate and its key"),
                })],
            },
            Origin = table.Path,
        };
    }

    private static RegistryEndpoint At(TomlFile table, string url, RegistryEndpoint upstream)
        => EndpointUrl.TryParse(url.Contains("://", StringComparison.Ordinal) ? url : $"https://{url}") is not { } parsed
            ? throw table.Wrong(EndpointUrl.WithoutUserInfo(url), "the URL of a host, such as https://mirror.example")
            : upstream with { Host = EndpointUrl.HostOf(parsed), Root = EndpointUrl.RootOf(parsed, isWhole: table.Flag("override_path")) };

    // Go's time.ParseDuration, as far as anybody writes it here.
    private static TimeSpan? ParseDuration(string text)
    {
        (string Unit, double Seconds)[] units = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)];
        foreach ((string unit, double seconds) in units)
        {
            if (text.EndsWith(unit, StringComparison.Ordinal) && double.TryParse(text[..^unit.Length], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value)
                && value * seconds is > 0 and < 86_400)
            {
                return TimeSpan.FromSeconds(value * seconds);
            }
        }
        return null;
    }
}

/// <summary>URLs of hosts as configurations name them.</summary>
internal static class EndpointUrl
{
    /// <summary>An http or https URL without user info, query and fragment; else null.</summary>
    public static Uri? TryParse(string text)
        => Uri.TryCreate(text, UriKind.Absolute, out Uri? url) && (url.Scheme == Uri.UriSchemeHttp || url.Scheme == Uri.UriSchemeHttps)
            && url.Host.Length > 0 && url.UserInfo.Length == 0 && url.Query.Length == 0 && url.Fragment.Length == 0 ? url : null;

    /// <summary>A text for messages, which may be a malformed URL: what stands before its last "@" may be a password.</summary>
    public static string WithoutUserInfo(string text)
    {
        int at = text.LastIndexOf('@'), begin = text.IndexOf("://", StringComparison.Ordinal);
        begin = begin >= 0 ? begin + 3 : text.IndexOf('=', StringComparison.Ordinal) + 1;
        return at < begin ? text : $"{text[..begin]}***{text[at..]}";
    }

    /// <summary>HOST[:PORT], as credentials and certificates are looked up; Docker Hub is "docker.io".</summary>
    public static string HostOf(Uri url) => DockerHub.NameOf(url.Authority);

    /// <summary>What stands before a repository's name: the path with "/v2" behind it, or the path alone when it is whole or ends so.</summary>
    public static Uri RootOf(Uri url, bool isWhole)
    {
        string path = url.AbsolutePath.TrimEnd('/');
        if (!isWhole && !path.EndsWith("/v2", StringComparison.Ordinal))
            path += "/v2";
        return new Uri($"{url.GetLeftPart(UriPartial.Authority)}{path}/");
    }
}
