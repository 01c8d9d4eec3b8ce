using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry;

/// <summary>A token for one registry.</summary>
/// <param name="Value">Secret.</param>
/// <param name="Lifetime">From now on.</param>
internal sealed record RegistryToken(string Value, TimeSpan Lifetime);

/// <summary>
/// Gets tokens from the server that a registry's Bearer challenge names (distribution: "Token Authentication Specification", and "OAuth2
/// Token Authentication" for identity tokens). Credentials go to the named server only, never where it redirects to.
/// </summary>
internal sealed class TokenServer(RegistryHttp http)
{
    private const int MaxTokenSize = 1 << 20;
    private const int MaxRedirects = 5;

    // What the specification prescribes for answers that do not say.
    private static readonly TimeSpan s_defaultLifetime = TimeSpan.FromSeconds(60);

    /// <summary>Asks for a token.</summary>
    /// <param name="challenge">A Bearer challenge.</param>
    /// <param name="registry">The URL of the registry that gave it.</param>
    /// <param name="scopes">What the token is for.</param>
    /// <param name="credentials">Null: a token for everybody.</param>
    /// <param name="subject">For sentences.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <exception cref="RegistryException"><see cref="ImageError.Denied"/>: the credentials are refused. Or the server cannot be reached, or breaks the protocol.</exception>
    public async Task<RegistryToken> FetchAsync(Challenge challenge, Uri registry, IReadOnlyList<string> scopes, Credentials? credentials, string subject, CancellationToken cancellationToken)
    {
        if (RawUrl.Resolve(registry, challenge.Parameters["realm"]) is not { } realm || (realm.Scheme != Uri.UriSchemeHttps && realm.Scheme != Uri.UriSchemeHttp))
            throw Malformed(subject, "names a token server whose address is malformed");
        bool secure = registry.Scheme == Uri.UriSchemeHttps;
        if (secure && realm.Scheme != Uri.UriSchemeHttps && !(Loopback.Is(registry) && Loopback.Is(realm)))
            throw Malformed(subject, $"names the token server {realm.Authority}, which is to be asked in plain HTTP");

        string? service = challenge.Parameters.GetValueOrDefault("service");
        if (credentials?.IdentityToken is { } identityToken
            && await TryExchangeAsync(realm, identityToken, service, scopes, subject, cancellationToken).ConfigureAwait(false) is { } exchanged)
        {
            return exchanged;
        }
        string query = string.Join('&', (service is null ? [] : new[] { $"service={Uri.EscapeDataString(service)}" }).Concat(scopes.Select(scope => $"scope={Uri.EscapeDataString(scope)}")));
        using HttpResponseMessage response = await GetAsync(RawUrl.WithQuery(realm, query), BasicOf(credentials), secure, subject, cancellationToken).ConfigureAwait(false);
        byte[] body = await http.ReadAllAsync(response, MaxTokenSize, subject, cancellationToken).ConfigureAwait(false)
            ?? throw Malformed(subject, "has a token server that sends more than 1 MiB for a token");
        return Read(body) ?? throw Malformed(subject, RegistryHttp.IsWebPage(body) ? $"has the token server {realm.Authority}, which sends a web page" : "has a token server that sends no token");
    }

    private static AuthenticationHeaderValue? BasicOf(Credentials? credentials) => credentials switch
    {
        null => null,
        // A token server that knows no OAuth 2 may take the identity token for a password.
        { IdentityToken: { } token, Password: "" } => Basic(credentials.UserName.Length > 0 ? credentials.UserName : "<token>", token),
        { UserName: "" } => null,
        _ => Basic(credentials.UserName, credentials.Password),
    };

    /// <summary>The Authorization header of the Basic scheme (RFC 7617), in UTF-8.</summary>
    public static AuthenticationHeaderValue Basic(string userName, string password)
        => new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{userName}:{password}")));

    // By OAuth 2. Null: the server does not do that, or not with this token.
    private async Task<RegistryToken?> TryExchangeAsync(Uri realm, string identityToken, string? service, IReadOnlyList<string> scopes, string subject, CancellationToken cancellationToken)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, realm)
        {
            Content = new FormUrlEncodedContent(new Dictionary<string, string>
            {
                ["grant_type"] = "refresh_token",
                ["client_id"] = "lazymount",
                ["refresh_token"] = identityToken,
                ["service"] = service ?? "",
                ["scope"] = string.Join(' ', scopes),
            }),
        };
        request.Options.Set(RegistryHttp.Secrets, [identityToken]);
        using HttpResponseMessage response = await http.SendAsync(request, subject, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode is HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout || ((int)response.StatusCode >= 500 && response.StatusCode != HttpStatusCode.NotImplemented))
            throw await http.RefusalAsync(response, subject, Asked.TokenServer, null, cancellationToken).ConfigureAwait(false);
        return response.IsSuccessStatusCode && await http.ReadAllAsync(response, MaxTokenSize, subject, cancellationToken).ConfigureAwait(false) is { } body ? Read(body) : null;
    }

    private async Task<HttpResponseMessage> GetAsync(Uri url, AuthenticationHeaderValue? authorization, bool secure, string subject, CancellationToken cancellationToken)
    {
        for (int redirects = 0; ; redirects++)
        {
            var request = new HttpRequestMessage(HttpMethod.Get, url);
            request.Headers.Authorization = authorization;
            HttpResponseMessage response = await http.SendAsync(request, subject, cancellationToken).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
                return response;
            if (!RegistryHttp.IsRedirect(response.StatusCode))
                throw await http.RefusalAsync(response, subject, Asked.TokenServer, null, cancellationToken).ConfigureAwait(false);
            using (response)
            {
                if (redirects == MaxRedirects)
                    throw Malformed(subject, $"has a token server that redirects more than {MaxRedirects} times");
                if (RegistryHttp.RedirectOf(response) is not { } next)
                    throw Malformed(subject, "has a token server that redirects without a target");
                if (next.Scheme != Uri.UriSchemeHttps && (next.Scheme != Uri.UriSchemeHttp || secure || url.Scheme == Uri.UriSchemeHttps))
                    throw Malformed(subject, $"has a token server that redirects to {next.Scheme}, which is not HTTPS");
                if (next.Scheme != url.Scheme || next.Authority != url.Authority)
                    authorization = null;
                url = next;
            }
        }
    }

    private static RegistryToken? Read(byte[] body)
    {
        TokenJson json;
        try
        {
            json = GoJsonReader.Read(body, TokenJson.Form.Read);
        }
        catch (JsonException)
        {
            return null; // the cause may quote the token
        }
        string token = json.Token.Length == 0 ? json.AccessToken : json.Token;
        return !Credentials.IsToken(token) ? null : new RegistryToken(token, LifetimeOf(json));
    }

    private static TimeSpan LifetimeOf(TokenJson json)
    {
        TimeSpan lifetime = double.TryParse(json.ExpiresIn, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and < int.MaxValue
            ? TimeSpan.FromSeconds(seconds) : s_defaultLifetime;
        // It may have been issued some time ago. A clock that differs from the server's must not make it old, or new for ever.
        if (DateTimeOffset.TryParse(json.IssuedAt, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset issued)
            && DateTimeOffset.UtcNow - issued is var age && age > TimeSpan.Zero && age < lifetime)
        {
            lifetime -= age;
        }
        return lifetime;
    }

    private RegistryException Malformed(string subject, string reason)
        => new(ImageError.Invalid, $"cannot get {subject}: {http.Registry} {reason}; tell its operator");
}
