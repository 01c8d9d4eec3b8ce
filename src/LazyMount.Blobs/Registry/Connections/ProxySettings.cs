using System.Net;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>
/// The proxies of the environment, as curl and Go read them: https_proxy, http_proxy, all_proxy (lower case before upper case; HTTP_PROXY does
/// not count in a CGI program) and no_proxy. Requests to this machine itself pass by every proxy. A SOCKS proxy resolves names itself
/// (socks5 as socks5h, as in Go; curl resolves them for socks5).
/// </summary>
internal sealed class ProxySettings : IWebProxy, ICredentials
{
    private static readonly string[] s_schemes = ["http", "https", "socks4", "socks4a", "socks5"];

    private readonly Setting? _http, _https;
    private readonly string[] _passed;

    /// <exception cref="ImageException">A variable does not hold a proxy's URL.</exception>
    public ProxySettings(RegistryEnvironment environment)
    {
        Setting? all = Read(environment, "all_proxy", "ALL_PROXY");
        _https = Read(environment, "https_proxy", "HTTPS_PROXY") ?? all;
        _http = Read(environment, "http_proxy", environment.Variable("REQUEST_METHOD") is null ? "HTTP_PROXY" : null) ?? all;
        _passed = (environment.Variable("no_proxy") ?? environment.Variable("NO_PROXY") ?? "").ToLowerInvariant().Split([',', ' '], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
    }

    /// <param name="Url">Without user info.</param>
    /// <param name="Credential">From its user info, or null.</param>
    /// <param name="Variable">Where it stands.</param>
    private sealed record Setting(Uri Url, NetworkCredential? Credential, string Variable);

    /// <inheritdoc/>
    public ICredentials? Credentials
    {
        get => this;
        set => throw new NotSupportedException();
    }

    /// <summary>The proxy for a URL and its variable, for sentences: "proxy.example:3128 (HTTPS_PROXY)"; null when it is asked directly.</summary>
    public string? Describe(Uri url) => For(url) is { } setting ? $"{setting.Url.Authority} ({setting.Variable})" : null;

    /// <inheritdoc/>
    public Uri? GetProxy(Uri destination) => For(destination)?.Url;

    /// <inheritdoc/>
    public bool IsBypassed(Uri host) => For(host) is null;

    /// <inheritdoc/>
    public NetworkCredential? GetCredential(Uri uri, string authType)
        => Array.Find([_http, _https], setting => setting?.Url == uri)?.Credential ?? Array.Find([_http, _https], setting => setting?.Url.Authority == uri.Authority)?.Credential;

    private Setting? For(Uri url) => Loopback.Is(url) || Passes(url) ? null : url.Scheme == Uri.UriSchemeHttps ? _https : _http;

    private static Setting? Read(RegistryEnvironment environment, string lower, string? upper)
    {
        string name = environment.Variable(lower) is { Length: > 0 } ? lower : upper ?? lower;
        if (environment.Variable(name) is not { Length: > 0 } text)
            return null;
        string full = text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}";
        if (full.StartsWith("socks5h://", StringComparison.OrdinalIgnoreCase) || full.StartsWith("socks://", StringComparison.OrdinalIgnoreCase))
            full = "socks5" + full[full.IndexOf(':', StringComparison.Ordinal)..];
        if (!Uri.TryCreate(full, UriKind.Absolute, out Uri? url) || url.Host.Length == 0 || !s_schemes.Contains(url.Scheme))
            throw new ImageException(ImageError.Local, $"The variable {name} does not hold a proxy's URL, such as http://HOST:PORT or socks5://HOST:PORT: correct or unset it.");
        int port = url.Port > 0 ? url.Port : url.Scheme.StartsWith("socks", StringComparison.Ordinal) ? 1080 : url.Scheme == "https" ? 443 : 80;
        string[] user = url.UserInfo.Split(':', 2);
        return new Setting(
            new Uri($"{url.Scheme}://{url.Host}:{port}/"),
            user[0].Length == 0 ? null : new NetworkCredential(Uri.UnescapeDataString(user[0]), user.Length > 1 ? Uri.UnescapeDataString(user[1]) : ""),
            name);
    }

    // As Go: "*", a CIDR block or an address for hosts that are addresses, a name for itself and its subdomains, ".name" for the subdomains
    // (curl: for the name as well, so we take that), "*.name", each with a port where only that is meant.
    private bool Passes(Uri url)
    {
        string host = url.IdnHost.TrimEnd('.').Trim('[', ']').ToLowerInvariant();
        IPAddress? address = IPAddress.TryParse(host, out IPAddress? parsed) ? parsed : null;
        foreach (string entry in _passed)
        {
            if (entry == "*")
                return true;
            if (address is not null && entry.Contains('/', StringComparison.Ordinal))
            {
                if (IPNetwork.TryParse(entry, out IPNetwork block) && block.Contains(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address))
                    return true;
                continue;
            }
            (string name, int? port) = SplitPort(entry);
            if (port is not null && port != url.Port)
                continue;
            if (address is not null ? IPAddress.TryParse(name, out IPAddress? same) && same.Equals(address) : IsOrIsBelow(host, name))
                return true;
        }
        return false;
    }

    private static bool IsOrIsBelow(string host, string name)
    {
        name = name.StartsWith("*.", StringComparison.Ordinal) ? name[2..] : name.TrimStart('.');
        name = name.TrimEnd('.');
        return name.Length > 0 && (host == name || host.EndsWith("." + name, StringComparison.Ordinal));
    }

    private static (string Name, int? Port) SplitPort(string entry)
    {
        if (entry.StartsWith('['))
        {
            int end = entry.IndexOf(']', StringComparison.Ordinal);
            return end < 0 ? (entry, null) : (entry[1..end], int.TryParse(entry[(end + 1)..].TrimStart(':'), out int port) ? port : null);
        }
        int colon = entry.LastIndexOf(':');
        return colon > 0 && entry.IndexOf(':', StringComparison.Ordinal) == colon && int.TryParse(entry[(colon + 1)..], out int number) ? (entry[..colon], number) : (entry, null);
    }
}
