using System.Buffers;
using System.Globalization;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>A containerd hosts.toml (containerd docs/hosts.md): the hosts that are asked for a registry, in the order of the file.</summary>
/// <param name="file">The file.</param>
/// <param name="upstream">The registry itself.</param>
/// <param name="certificates">The certificates that are configured for another host.</param>
/// <param name="note">Told of what is ignored.</param>
internal sealed class HostsToml(TomlFile file, RegistryEndpoint upstream, Func<string, EndpointTls> certificates, Action<string> note)
{
    public const string FileName = "hosts.toml";

    private static readonly TimeSpan s_longest = TimeSpan.FromDays(1);
    private static readonly SearchValues<char> s_number = SearchValues.Create("0123456789.");

    /// <summary>The hosts, and last the server: the registry itself, unless the file names another.</summary>
    /// <exception cref="ImageException">A value is wrong.</exception>
    public IReadOnlyList<RegistryEndpoint> Read()
    {
        var endpoints = new List<RegistryEndpoint>();
        if (file.Table("host") is { } hosts)
        {
            foreach (string url in hosts.Keys)
                endpoints.Add(Read(hosts.Table(url)!, url));
        }
        endpoints.Add(Read(file, file.Text("server") ?? ""));
        return endpoints;
    }

    private RegistryEndpoint Read(TomlFile table, string url)
    {
        string directory = Path.GetDirectoryName(table.Path)!;
        string[] capabilities = [.. table.Texts("capabilities").Select(each => each.ToLowerInvariant())];
        if (Array.Find(capabilities, each => each is not ("pull" or "resolve" or "push")) is { } unknown)
            throw table.Wrong("capabilities", $"a list of pull, resolve and push: it has '{Printable.Of(unknown)}'");
        RegistryEndpoint endpoint = url.Length == 0 ? upstream : At(table, url);
        IReadOnlyList<string> authorities = [.. table.Texts("ca").Select(path => PathOf(path, "ca"))];
        IReadOnlyList<ClientCertificateFiles> pairs = [.. table.TextLists("client").Select(pair => pair.Count switch
        {
            1 => new ClientCertificateFiles(PathOf(pair[0], "client"), PathOf(pair[0], "client")),
            2 => new ClientCertificateFiles(PathOf(pair[0], "client"), PathOf(pair[1].Length == 0 ? pair[0] : pair[1], "client")),
            _ => throw table.Wrong("client", "a list of files, or of pairs of a certificate and its key"),
        })];
        bool mentionsTls = authorities.Count > 0 || pairs.Count > 0 || table.Has("skip_verify");
        if (mentionsTls && endpoint.Root.Scheme == Uri.UriSchemeHttp && EndpointUrl.PortIn(url) != 80)
        {
            // As containerd: who writes how TLS is spoken may have the scheme wrong.
            endpoint = endpoint with { Root = EndpointUrl.WithScheme(endpoint.Root, "https", url), PlainRoot = endpoint.Root };
        }
        return endpoint with
        {
            CanPull = capabilities is [] || capabilities.Contains("pull"),
            CanResolve = capabilities is [] || capabilities.Contains("resolve"),
            CanPush = capabilities is [] || capabilities.Contains("push"),
            Headers = [.. table.Table("header") is { } headers ? headers.Keys.SelectMany(name => headers.Texts(name).Select(value => Field(headers, name, value))) : []],
            Proxy = table.Text("proxy") is { Length: > 0 } proxy ? proxy : null,
            DialTimeout = table.Text("dial_timeout") is { Length: > 0 } text ? DialTimeoutOf(table, text) : null,
            Tls = new EndpointTls
            {
                IsVerified = upstream.Tls.IsVerified && !table.Flag("skip_verify"),
                CaFiles = [.. endpoint.Tls.CaFiles, .. authorities],
                ClientCertificates = pairs.Count > 0 ? pairs : endpoint.Tls.ClientCertificates,
            },
            Origin = table.Path,
        };

        string PathOf(string path, string key)
            => path.Length > 0 && !path.Contains('\0', StringComparison.Ordinal) ? Path.Combine(directory, path) : throw table.Wrong(key, "the name of a file");
    }

    private static KeyValuePair<string, string> Field(TomlFile headers, string name, string value)
        => name.Length == 0 || name.Any(c => !char.IsAsciiLetterOrDigit(c) && !"!#$%&'*+-.^_`|~".Contains(c)) || s_framing.Contains(name)
            ? throw headers.Wrong(name, "a field that may be sent")
            : value.Any(char.IsControl) ? throw headers.Wrong(name, "a value without control characters") : KeyValuePair.Create(name, value);

    // Fields that are about the connection and the body, which are ours.
    private static readonly HashSet<string> s_framing = new(StringComparer.OrdinalIgnoreCase)
    {
        "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Range", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
    };

    private RegistryEndpoint At(TomlFile table, string url)
    {
        // As containerd, which takes scheme, host and path of it.
        string address = EndpointUrl.WithoutUserInfo(url.Contains("://", StringComparison.Ordinal) ? url : $"https://{url}", out bool hasUserInfo);
        if (EndpointUrl.TryParse(address.Split('?', '#')[0]) is not { } parsed)
            throw table.Wrong(url, "the URL of a host, such as https://mirror.example");
        if (hasUserInfo)
            note($"ignoring the user name and password in the URL of {Printable.Of(parsed.Authority)} in '{Printable.Of(table.Path)}', as containerd does; log in to that host");
        bool isMirror = !EndpointUrl.IsOf(parsed, upstream.Host);
        string host = isMirror ? EndpointUrl.HostOf(parsed) : upstream.Host;
        return upstream with
        {
            Host = host,
            Root = EndpointUrl.RootOf(parsed, isWhole: table.Flag("override_path")),
            PlainRoot = null,
            IsMirror = isMirror,
            Namespace = isMirror ? upstream.Host : null,
            Tls = isMirror ? certificates(host) : upstream.Tls,
        };
    }

    // Null: no limit of its own.
    private static TimeSpan? DialTimeoutOf(TomlFile table, string text)
        => ParseDuration(text) is { } duration ? duration == TimeSpan.Zero ? null : duration < s_longest ? duration : s_longest
            : throw table.Wrong("dial_timeout", "a duration, such as \"10s\" or \"1m30s\"");

    // Go's time.ParseDuration: numbers with units, one after the other. Null: it is something else.
    private static TimeSpan? ParseDuration(string text)
    {
        (string Unit, double Seconds)[] units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600)];
        double sum = 0;
        string rest = text.TrimStart('+');
        if (rest == "0")
            return TimeSpan.Zero;
        if (rest.Length == 0)
            return null;
        while (rest.Length > 0)
        {
            int number = rest.AsSpan().IndexOfAnyExcept(s_number);
            if (number <= 0 || !double.TryParse(rest[..number], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value))
                return null;
            rest = rest[number..];
            int end = rest.AsSpan().IndexOfAny(s_number);
            string unit = end < 0 ? rest : rest[..end];
            int known = Array.FindIndex(units, each => each.Unit == unit);
            if (known < 0)
                return null;
            sum += value * units[known].Seconds;
            rest = rest[unit.Length..];
        }
        return sum < TimeSpan.MaxValue.TotalSeconds ? TimeSpan.FromSeconds(sum) : null;
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
        begin = begin >= 0 ? begin + 3 : 0;
        return at < begin ? text : $"{text[..begin]}***{text[at..]}";
    }

    /// <summary>A URL without the user info before its host.</summary>
    public static string WithoutUserInfo(string url, out bool hasUserInfo)
    {
        int host = url.IndexOf("://", StringComparison.Ordinal) + 3;
        int end = url.AsSpan(host).IndexOfAny("/?#");
        int at = url.LastIndexOf('@', (end < 0 ? url.Length : host + end) - 1);
        hasUserInfo = at >= host;
        return hasUserInfo ? url[..host] + url[(at + 1)..] : url;
    }

    /// <summary>The port that is written in a URL or a HOST[:PORT][/PATH]; null when none is.</summary>
    public static int? PortIn(string text)
    {
        int begin = text.IndexOf("://", StringComparison.Ordinal);
        string authority = text[(begin < 0 ? 0 : begin + 3)..].Split('/', '?', '#')[0];
        int colon = authority.LastIndexOf(':');
        return colon > authority.LastIndexOf(']') && int.TryParse(authority[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int port) ? port : null;
    }

    /// <summary>The same URL in another scheme: at the port that was written, else at the scheme's own.</summary>
    /// <param name="url">The URL.</param>
    /// <param name="scheme">"http" or "https".</param>
    /// <param name="written">What was written: <see cref="Uri"/> does not tell a port that is the scheme's own from none.</param>
    public static Uri WithScheme(Uri url, string scheme, string written) => new UriBuilder(url) { Scheme = scheme, Port = PortIn(written) ?? -1 }.Uri;

    /// <summary>HOST[:PORT], as credentials and certificates are looked up; Docker Hub is "docker.io".</summary>
    public static string HostOf(Uri url) => DockerHub.NameOf(url.Authority);

    /// <summary>The URL leads to the host and port of a registry; a port that is left out is the scheme's own.</summary>
    public static bool IsOf(Uri url, string registry)
        => HostOf(url) == registry
            || (Uri.TryCreate($"https://{registry}/", UriKind.Absolute, out Uri? other) && url.IdnHost == other.IdnHost && (url.Port == other.Port || (url.IsDefaultPort && other.IsDefaultPort)));

    /// <summary>What stands before a repository's name: the path with "/v2" behind it, or the path alone when it is whole or ends so.</summary>
    public static Uri RootOf(Uri url, bool isWhole)
    {
        string path = url.AbsolutePath.TrimEnd('/');
        if (!isWhole && !path.EndsWith("/v2", StringComparison.Ordinal))
            path += "/v2";
        string authority = DockerHub.Is(url.Authority) ? DockerHub.Host : url.Authority;
        return new Uri($"{url.Scheme}://{authority}{path}/");
    }
}
