using System.Net;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Cli;
using Microsoft.AspNetCore.Http;

namespace LazyMount.Serving;

/// <summary>
/// Decides which requests are answered. Other users of this machine, and every web page in a browser here, can reach the server: so a request
/// must name a host that is ours, must not come from another site's page, and must know the password.
/// </summary>
internal sealed class Gatekeeper(ServeSettings settings)
{
    /// <summary>The value of the query in the URL that is printed.</summary>
    public const string TokenQuery = "token";

    // Not the password itself: a browser sends cookies to every port of a host.
    private readonly string? _cookie = settings.Password is { } password
        ? Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"lazymount serve cookie\n{password}"))) : null;

    /// <summary>
    /// The host that the request names is ours. A page of another site can make a browser resolve that site's name to our address, but then the
    /// browser sends that name.
    /// </summary>
    public bool IsOurs(HttpContext context)
    {
        string host = context.Request.Host.Host;
        if (settings.Hosts.Contains(host, StringComparer.OrdinalIgnoreCase))
        {
            return true;
        }
        IPAddress? local = context.Connection.LocalIpAddress is { IsIPv4MappedToIPv6: true } mapped ? mapped.MapToIPv4() : context.Connection.LocalIpAddress;
        bool isLoopback = local is not null && IPAddress.IsLoopback(local);
        return host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? isLoopback
            : ListenAddress.AddressOf(host) is { } address && (address.Equals(local) || (isLoopback && IPAddress.IsLoopback(address)));
    }

    /// <summary>The browser does not ask for the page of another site. Following a link from there is fine: that shows our page, not theirs.</summary>
    public static bool IsOfOurSite(HttpRequest request)
        => request.Headers["Sec-Fetch-Site"].ToString() is not ("cross-site" or "same-site")
            || (request.Headers["Sec-Fetch-Mode"] == "navigate" && request.Headers["Sec-Fetch-Dest"] == "document" && HttpMethods.IsGet(request.Method));

    /// <summary>The request knows the password.</summary>
    public bool IsKnown(HttpContext context)
        => settings.Password is not { } password
            || (context.Request.Cookies[CookieName(context)] is { } cookie && AreEqual(cookie, _cookie!))
            || (PasswordOf(context.Request) is { } given && AreEqual(given, password));

    /// <summary>The URL has the token.</summary>
    public bool HasToken(WebRequest request) => settings.IsToken && request.Query(TokenQuery) is { } token && AreEqual(token, settings.Password!);

    /// <summary>Gives the browser the cookie that stands for the token.</summary>
    public void SetCookie(HttpContext context)
        => context.Response.Cookies.Append(CookieName(context), _cookie!, new CookieOptions { HttpOnly = true, SameSite = SameSiteMode.Strict, Secure = context.Request.IsHttps, Path = "/" });

    private static string CookieName(HttpContext context) => $"lazymount-{context.Connection.LocalPort}";

    // Basic: whatever the user is called.
    private static string? PasswordOf(HttpRequest request)
    {
        const string Scheme = "Basic ";
        string header = request.Headers.Authorization.ToString();
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }
        byte[] pair = new byte[header.Length];
        if (!Convert.TryFromBase64String(header[Scheme.Length..].Trim(), pair, out int length))
        {
            return null;
        }
        int colon = pair.AsSpan(0, length).IndexOf((byte)':');
        return colon < 0 ? null : Encoding.UTF8.GetString(pair, colon + 1, length - colon - 1);
    }

    private static bool AreEqual(string given, string wanted)
        => CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(given)), SHA256.HashData(Encoding.UTF8.GetBytes(wanted)));
}
