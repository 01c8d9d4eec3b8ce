using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Hosts;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// The Authorization header for one repository, learnt from the registry's challenges: Basic, or a Bearer token that is
/// renewed before it expires or when it is refused (distribution: "Token Authentication Specification"). One renewal
/// at a time; who comes meanwhile waits for its result.
/// </summary>
internal sealed class RegistryAuthorization(RegistryHttp http, RegistryEndpoint endpoint, CredentialStore store) : IDisposable
{
    private const int MaxTokenSize = 1 << 20;

    private readonly SemaphoreSlim _renewal = new(1, 1);
    private volatile Grant? _grant;

    // Guarded by _renewal.
    private Challenge? _challenge;
    private FoundCredentials? _found;
    private bool _pushes;

    /// <summary>What to send; null until the registry has asked for something.</summary>
    /// <param name="secure">The registry is spoken to over TLS.</param>
    /// <param name="push">For a request that changes the repository: a token that was for pulling only is not enough.</param>
    /// <param name="subject">For sentences.</param>
    /// <param name="cancellationToken">The caller's.</param>
    public async ValueTask<AuthenticationHeaderValue?> GetAsync(bool secure, bool push, string subject, CancellationToken cancellationToken)
    {
        Grant? grant = _grant;
        if (grant is null || grant.Serves(push))
            return grant?.Header;

        await _renewal.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_grant is { } renewed && renewed.Serves(push))
                return renewed.Header;
            _pushes |= push;
            _grant = await FetchTokenAsync(_challenge!, secure, subject, cancellationToken).ConfigureAwait(false);
            return _grant.Header;
        }
        finally
        {
            _renewal.Release();
        }
    }

    /// <summary>Answers a 401. False: there is nothing better to send than what was sent.</summary>
    public async Task<bool> AnswerAsync(HttpResponseMessage refusal, AuthenticationHeaderValue? sent, bool secure, bool push, string subject, CancellationToken cancellationToken)
    {
        Challenge? challenge = refusal.Headers.NonValidated.TryGetValues("WWW-Authenticate", out HeaderStringValues headers) ? Challenge.Choose(headers) : null;
        if (challenge is null)
            return false;

        await _renewal.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_grant is { } grant && !ReferenceEquals(grant.Header, sent) && grant.Serves(push))
                return true; // renewed by another request since
            _pushes |= push;
            if (challenge.Scheme == "Bearer")
            {
                _challenge = challenge;
                _grant = await FetchTokenAsync(challenge, secure, subject, cancellationToken).ConfigureAwait(false);
                return true;
            }
            if (sent is not null || await FindCredentialsAsync(cancellationToken).ConfigureAwait(false) is not { UserName.Length: > 0 } credentials)
                return false;
            _grant = new Grant(Basic(credentials), long.MaxValue, CanPush: true);
            return true;
        }
        finally
        {
            _renewal.Release();
        }
    }

    public void Dispose() => _renewal.Dispose();

    private async Task<Grant> FetchTokenAsync(Challenge challenge, bool secure, string subject, CancellationToken cancellationToken)
    {
        string realm = challenge.Parameters["realm"];
        if (!Uri.TryCreate(realm, UriKind.Absolute, out Uri? url) || (url.Scheme != Uri.UriSchemeHttps && url.Scheme != Uri.UriSchemeHttp))
            throw Malformed(subject, "names a token server whose address is malformed");
        Credentials? credentials = await FindCredentialsAsync(cancellationToken).ConfigureAwait(false);
        if (credentials is not null && secure && url.Scheme != Uri.UriSchemeHttps)
            throw Malformed(subject, "wants your credentials sent unencrypted to its token server");

        // Who pushes asks for both at once: some registries answer a token that is for pulling only with 403, not a challenge.
        string scope = _pushes ? $"repository:{endpoint.Repository}:pull,push"
            : challenge.Parameters.GetValueOrDefault("scope") is { Length: > 0 } asked ? asked : $"repository:{endpoint.Repository}:pull";
        string? service = challenge.Parameters.GetValueOrDefault("service");
        HttpRequestMessage request = credentials?.IdentityToken is { } identityToken
            ? Exchange(url, identityToken, service, scope)
            : Ask(url, credentials, service, scope);
        HttpResponseMessage response = await http.SendAsync(request, subject, cancellationToken).ConfigureAwait(false);
        if (!response.IsSuccessStatusCode)
            throw await http.RefusalAsync(response, subject, fromRegistry: true, cancellationToken).ConfigureAwait(false);
        using (response)
        {
            byte[] body = await http.ReadAllAsync(response, MaxTokenSize, subject, cancellationToken).ConfigureAwait(false)
                ?? throw Malformed(subject, "has a token server that gives more than 1 MiB for a token");
            return Read(body, subject);
        }
    }

    private async ValueTask<Credentials?> FindCredentialsAsync(CancellationToken cancellationToken)
    {
        _found ??= await store.FindAsync(endpoint.Host, endpoint.Repository, again: false, cancellationToken).ConfigureAwait(false);
        return _found.Credentials;
    }

    private static HttpRequestMessage Ask(Uri realm, Credentials? credentials, string? service, string scope)
    {
        string query = (service is null ? "" : $"service={Uri.EscapeDataString(service)}&") + $"scope={Uri.EscapeDataString(scope)}";
        var url = new UriBuilder(realm) { Query = realm.Query.Length > 1 ? $"{realm.Query[1..]}&{query}" : query };
        var request = new HttpRequestMessage(HttpMethod.Get, url.Uri);
        if (credentials is { UserName.Length: > 0 })
            request.Headers.Authorization = Basic(credentials);
        return request;
    }

    private static HttpRequestMessage Exchange(Uri realm, string identityToken, string? service, string scope)
        => new(HttpMethod.Post, realm)
        {
            Content = new FormUrlEncodedContent(new Dictionary<string, string>
            {
                ["grant_type"] = "refresh_token",
                ["client_id"] = "lazymount",
                ["refresh_token"] = identityToken,
                ["service"] = service ?? "",
                ["scope"] = scope,
            }),
        };

    private Grant Read(byte[] body, string subject)
    {
        TokenJson json;
        try
        {
            json = GoJsonReader.Read(body, TokenJson.Form.Read);
        }
        catch (JsonException)
        {
            json = new TokenJson(); // without the cause: it may quote the token
        }
        string token = json.Token.Length == 0 ? json.AccessToken : json.Token;
        if (token.Length == 0 || token.AsSpan().ContainsAnyExceptInRange('!', '~'))
            throw Malformed(subject, "has a token server that gives no token");
        long seconds = json.ExpiresIn is > 0 and < int.MaxValue ? json.ExpiresIn : 60;
        // Renewed a little early, so that it does not expire on its way.
        long lifetime = seconds * 1000 - Math.Min(10_000, seconds * 250);
        return new Grant(new AuthenticationHeaderValue("Bearer", token), Environment.TickCount64 + lifetime, _pushes);
    }

    private static AuthenticationHeaderValue Basic(Credentials credentials)
        => new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{credentials.UserName}:{credentials.Password}")));

    private RegistryException Malformed(string subject, string reason)
        => new(ImageError.Invalid, $"Cannot get {subject}: {http.Registry} {reason}; tell whoever runs it.");

    private sealed record Grant(AuthenticationHeaderValue Header, long ExpiresAt, bool CanPush)
    {
        public bool Serves(bool push) => Environment.TickCount64 < ExpiresAt && (CanPush || !push);
    }
}
