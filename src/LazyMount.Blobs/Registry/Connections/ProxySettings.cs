using System.Globalization;
using System.Net;
using System.Net.Sockets;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>
/// The proxies of the environment, as curl and Go read them: https_proxy, http_proxy, all_proxy and no_proxy, each in lower case before upper
/// case as in curl (Go: upper case first); an empty variable does not count, nor does HTTP_PROXY in a CGI program. Requests to this machine
/// itself pass by every proxy. A SOCKS proxy resolves names itself (socks5 as socks5h, as in Go; curl resolves them for socks5).
/// </summary>
internal sealed class ProxySettings : IWebProxy, ICredentials
{
    private static readonly string[] s_schemes = ["http", "https", "socks4", "socks4a", "socks5"];

    private readonly Setting? _http, _https;
    private readonly string[] _passed = [];

    /// <param name="environment">Whose variables name proxies.</param>
    /// <param name="configured">A proxy's URL from a configuration, which then counts alone; null: the environment's.</param>
    /// <param name="origin">The configuration, for sentences.</param>
    /// <exception cref="ImageException">A variable, or the configuration, does not hold a proxy's URL.</exception>
    public ProxySettings(RegistryEnvironment environment, string? configured = null, string origin = "")
    {
        if (configured is not null)
        {
            _http = _https = Setting.Parse(origin, configured);
            return;
        }
        bool isCgi = environment.Variable("REQUEST_METHOD") is { Length: > 0 };
        _https = Read("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY");
        _http = Read("http_proxy", isCgi ? "" : "HTTP_PROXY", "all_proxy", "ALL_PROXY");
        _passed = (First("no_proxy", "NO_PROXY").Value ?? "").ToLowerInvariant().Split([',', ' ', '\t'], StringSplitOptions.RemoveEmptyEntries);

        (string Name, string? Value) First(params string[] names)
            => names.Select(name => (name, environment.Variable(name)?.Trim())).FirstOrDefault(each => each is { name.Length: > 0, Item2.Length: > 0 });

        Setting? Read(params string[] names) => First(names) is (var name, { } text) ? Setting.Parse(name, text) : null;
    }

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

    /// <summary>TLS is spoken with the proxy for a URL.</summary>
    public bool IsTls(Uri url) => For(url) is { IsTls: true };

    /// <inheritdoc/>
    public bool IsBypassed(Uri host) => For(host) is null;

    /// <inheritdoc/>
    public NetworkCredential? GetCredential(Uri uri, string authType) => Array.Find([_http, _https], setting => setting?.Url == uri)?.Credential;

    private Setting? For(Uri url) => Loopback.Is(url) || Passes(url) ? null : url.Scheme == Uri.UriSchemeHttps ? _https : _http;

    // As Go: "*", a CIDR block or an address for hosts that are addresses, a name for itself and its subdomains, ".name" for the subdomains
    // (curl: for the name as well, so we take that), "*.name" for the subdomains, each with a port where only that is meant.
    private bool Passes(Uri url)
    {
        string host = (url.HostNameType == UriHostNameType.IPv6 ? url.Host : url.IdnHost).TrimEnd('.').ToLowerInvariant();
        IPAddress? address = ParseAddress(host);
        return Array.Exists(_passed, entry => entry == "*" || (ParseBlock(entry) is { } block
            ? address is not null && block.Contains(address)
            : SplitPort(entry) is var (name, port) && (port.Length == 0 || port == url.Port.ToString(CultureInfo.InvariantCulture))
                && (address is null ? IsOrIsBelow(host, name) : address.Equals(ParseAddress(name)))));
    }

    private static bool IsOrIsBelow(string host, string name)
    {
        bool isBelow = name.StartsWith("*.", StringComparison.Ordinal);
        name = (isBelow ? name[1..] : name).Trim('.');
        return name.Length > 0 && ((!isBelow && host == name) || host.EndsWith("." + name, StringComparison.Ordinal));
    }

    // "[ADDRESS]:PORT", "[ADDRESS]", "NAME:PORT", "NAME" or an IPv6 address alone.
    private static (string Name, string Port) SplitPort(string entry)
    {
        int colon = entry.LastIndexOf(':');
        return colon > entry.LastIndexOf(']') && (entry[..colon].EndsWith(']') || entry.IndexOf(':', StringComparison.Ordinal) == colon)
            ? (entry[..colon], entry[(colon + 1)..]) : (entry, "");
    }

    // As Go reads addresses: dotted with all four numbers, or IPv6. The interface does not count, and an IPv4 address in IPv6 form is an IPv4 address.
    private static IPAddress? ParseAddress(string text)
    {
        text = (text.StartsWith('[') && text.EndsWith(']') ? text[1..^1] : text).Split('%')[0];
        if (!IPAddress.TryParse(text, out IPAddress? address) || (address.AddressFamily == AddressFamily.InterNetwork && address.ToString() != text))
            return null;
        return address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : new IPAddress(address.GetAddressBytes());
    }

    // As Go reads blocks: bits behind the prefix may be set.
    private static IPNetwork? ParseBlock(string text)
    {
        string[] parts = text.Split('/');
        if (parts.Length != 2 || ParseAddress(parts[0]) is not { } address || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int length))
            return null;
        byte[] bytes = address.GetAddressBytes();
        if (bytes.Length == 4 && parts[0].Contains(':', StringComparison.Ordinal))
            length -= 96;
        if (length < 0 || length > bytes.Length * 8)
            return null;
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] &= (byte)(0xFF00 >> Math.Clamp(length - (i * 8), 0, 8));
        return new IPNetwork(new IPAddress(bytes), length);
    }

    /// <param name="Url">Scheme, host and port. The path is the variable's name and not sent: two variables may give one proxy different logins.</param>
    /// <param name="Credential">From its user info, or null.</param>
    /// <param name="Variable">Where it stands.</param>
    /// <param name="IsTls">TLS is spoken with it. Its URL has the scheme http: our own connections are encrypted, and the handler knows nothing of it.</param>
    private sealed record Setting(Uri Url, NetworkCredential? Credential, string Variable, bool IsTls)
    {
        public static Setting Parse(string variable, string text)
        {
            string full = text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}";
            if (full.StartsWith("socks5h://", StringComparison.OrdinalIgnoreCase) || full.StartsWith("socks://", StringComparison.OrdinalIgnoreCase))
                full = "socks5" + full[full.IndexOf(':', StringComparison.Ordinal)..];
            if (!Uri.TryCreate(full, UriKind.Absolute, out Uri? url) || url.Host.Length == 0 || url.Port == 0 || !s_schemes.Contains(url.Scheme))
                throw new ImageException(ImageError.Local, $"cannot use {(variable.Contains('/', StringComparison.Ordinal) ? $"the key proxy in '{Printable.Of(variable)}'" : $"the variable {variable}")}: its value is not a proxy's URL, such as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT; correct or {(variable.Contains('/', StringComparison.Ordinal) ? "remove" : "unset")} it");
            int port = url.Port > 0 ? url.Port : 1080;
            string[] user = url.UserInfo.Split(':', 2);
            return new Setting(
                new Uri($"{(url.Scheme == Uri.UriSchemeHttps ? Uri.UriSchemeHttp : url.Scheme)}://{url.Host}:{port}/{Uri.EscapeDataString(variable)}"),
                url.UserInfo.Length == 0 ? null : new NetworkCredential(Uri.UnescapeDataString(user[0]), user.Length > 1 ? Uri.UnescapeDataString(user[1]) : ""),
                variable,
                url.Scheme == Uri.UriSchemeHttps);
        }
    }
}
