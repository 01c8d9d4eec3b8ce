using System.Net;
using System.Net.Http.Headers;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Hosts;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry;

/// <summary>
/// The Authorization header for one repository at one host, learnt from the host's challenges: Basic, or a Bearer token that is renewed
/// shortly before it expires and once when it is refused. Credentials that are refused are looked up again, so that a mount
/// outlives their rotation. One renewal at a time; who comes meanwhile waits for its result, also when it fails.
/// </summary>
/// <param name="http">For questions to the host and its token server.</param>
/// <param name="endpoint">The host and the repository.</param>
/// <param name="store">Where the user's credentials are. Null: a host that has no claim to them; it gets tokens for everybody.</param>
/// <param name="note">Told of credentials that are refused, for the user.</param>
/// <param name="logger">The same.</param>
internal sealed class RegistryAuthorization(RegistryHttp http, RegistryEndpoint endpoint, CredentialStore? store, Action<string> note, ILogger logger) : IDisposable
{
    // Helper programs are not run again for refused credentials before so many times the duration of the last look. Files are read at once.
    private const int LookAgainFactor = 5;

    // Milliseconds. Somebody may log in, or a portal of the network may have answered in the registry's place.
    private const long AskForChallengeAgain = 60_000;

    private readonly TokenServer _tokens = new(http);
    private readonly CancellationTokenSource _end = new();
    private readonly Lock _lock = new();
    private volatile Grant? _grant;
    private Task<Grant?>? _renewing; // guarded by _lock

    // Of the renewal under way alone.
    private Challenge? _challenge;
    private FoundCredentials? _found;
    private long _lookAgainFrom; // Environment.TickCount64
    private long _askForChallengeFrom = long.MinValue; // Environment.TickCount64
    private bool _pushes;
    private string? _refusedByTokenServer;

    /// <summary>What to send; null until the registry has asked for something.</summary>
    /// <param name="root">The registry's URL that ends in "/v2/".</param>
    /// <param name="push">For a request that changes the repository: a token that was for pulling only is not enough.</param>
    /// <param name="subject">For sentences.</param>
    /// <param name="cancellationToken">The caller's.</param>
    public async ValueTask<AuthenticationHeaderValue?> GetAsync(Uri root, bool push, string subject, CancellationToken cancellationToken)
    {
        Grant? grant = _grant;
        return grant is null || grant.Serves(push) ? grant?.Header
            : (await RenewAsync(new Renewal(root, null, null, push, IsSecond: false, subject), cancellationToken).ConfigureAwait(false))?.Header;
    }

    /// <summary>Answers a refusal (401, and 400, 403 and 404, which some registries give in its place). False: there is nothing better to send than what was sent.</summary>
    /// <param name="refusal">The answer; not disposed.</param>
    /// <param name="sent">What was sent.</param>
    /// <param name="root">The registry's URL that ends in "/v2/".</param>
    /// <param name="push">The request changes the repository.</param>
    /// <param name="answered">How many refusals of the same request were answered before.</param>
    /// <param name="subject">For sentences.</param>
    /// <param name="cancellationToken">The caller's.</param>
    public async Task<bool> AnswerAsync(HttpResponseMessage refusal, AuthenticationHeaderValue? sent, Uri root, bool push, int answered, string subject, CancellationToken cancellationToken)
    {
        bool isWorthwhile = refusal.StatusCode switch
        {
            HttpStatusCode.Unauthorized => answered < 2,
            // A token that is too old, or from a time of other rights.
            HttpStatusCode.Forbidden or HttpStatusCode.BadRequest when sent?.Scheme == "Bearer" => answered == 0,
            // Some registries hide what is not for everybody, and challenge at /v2/ only.
            HttpStatusCode.Forbidden or HttpStatusCode.NotFound when sent is null => answered == 0 && store is not null && (Environment.TickCount64 >= Volatile.Read(ref _askForChallengeFrom) || _grant is not null),
            _ => false,
        };
        if (!isWorthwhile)
            return false;
        return await RenewAsync(new Renewal(root, Challenge.Of(refusal), sent, push, IsSecond: answered > 0, subject), cancellationToken).ConfigureAwait(false) is not null;
    }

    /// <summary>The credentials that were looked for and sent, and the next step, as a clause for messages; null when none were looked for.</summary>
    public string? Account => _found is not { } found ? null
        : found.Credentials is null ? found.Account
        : _refusedByTokenServer is { } reason ? $"the token server refuses {found.Account} ({reason}); {found.Advice}"
        : $"access is refused with {found.Account}; {found.Advice}";

    public void Dispose()
    {
        _end.Cancel();
        _end.Dispose();
    }

    private async Task<Grant?> RenewAsync(Renewal renewal, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task<Grant?> renewing;
            bool mine = false;
            lock (_lock)
            {
                if (_grant is { } grant && !ReferenceEquals(grant.Header, renewal.Sent) && grant.Serves(renewal.Push))
                    return grant; // renewed since by another request
                if (_renewing is null)
                {
                    mine = true;
                    CancellationToken end = _end.Token;
                    _renewing = Task.Run(() => RunAsync(renewal, end), CancellationToken.None);
                }
                renewing = _renewing;
            }
            Grant? renewed = await renewing.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (mine || renewed is null || renewed.Serves(renewal.Push))
                return renewed;
        }
    }

    private async Task<Grant?> RunAsync(Renewal renewal, CancellationToken cancellationToken)
    {
        try
        {
            return await MakeAsync(renewal, cancellationToken).ConfigureAwait(false) is { } grant ? _grant = grant : null;
        }
        finally
        {
            lock (_lock)
                _renewing = null;
        }
    }

    private async Task<Grant?> MakeAsync(Renewal renewal, CancellationToken cancellationToken)
    {
        _pushes |= renewal.Push;
        _challenge = renewal.Challenge ?? _challenge ?? await AskForChallengeAsync(renewal, cancellationToken).ConfigureAwait(false);
        return _challenge?.Scheme switch
        {
            "Bearer" => await GetTokenAsync(_challenge, renewal, cancellationToken).ConfigureAwait(false),
            "Basic" => await GetBasicAsync(renewal, cancellationToken).ConfigureAwait(false),
            _ => null,
        };
    }

    // Once in a while, and only for those who have something to show.
    private async Task<Challenge?> AskForChallengeAsync(Renewal renewal, CancellationToken cancellationToken)
    {
        if (Environment.TickCount64 < _askForChallengeFrom)
            return null;
        if ((await FindAsync(again: false, cancellationToken).ConfigureAwait(false)).Credentials is null)
        {
            Volatile.Write(ref _askForChallengeFrom, Environment.TickCount64 + AskForChallengeAgain);
            return null;
        }
        var request = new HttpRequestMessage(HttpMethod.Get, renewal.Root);
        foreach ((string name, string value) in endpoint.Headers)
            request.Headers.TryAddWithoutValidation(name, value);
        request.Options.Set(RegistryHttp.Secrets, endpoint.Headers.Select(header => header.Value));
        using HttpResponseMessage response = await http.SendAsync(request, renewal.Subject, cancellationToken).ConfigureAwait(false);
        Challenge? challenge = Challenge.Of(response);
        // A server that fails may challenge the next time.
        if (challenge is null && (int)response.StatusCode < 500 && response.StatusCode != HttpStatusCode.TooManyRequests)
            Volatile.Write(ref _askForChallengeFrom, Environment.TickCount64 + AskForChallengeAgain);
        return challenge;
    }

    private async Task<Grant?> GetBasicAsync(Renewal renewal, CancellationToken cancellationToken)
    {
        bool isRefused = renewal.Sent?.Scheme == "Basic";
        if ((await FindAsync(again: isRefused, cancellationToken).ConfigureAwait(false)).Credentials is not { UserName.Length: > 0 } credentials)
            return null;
        AuthenticationHeaderValue header = TokenServer.Basic(credentials.UserName, credentials.Password.Length > 0 ? credentials.Password : credentials.IdentityToken ?? "");
        return isRefused && header.Parameter == renewal.Sent!.Parameter ? null : new Grant(header, long.MaxValue, CanPush: true);
    }

    private async Task<Grant?> GetTokenAsync(Challenge challenge, Renewal renewal, CancellationToken cancellationToken)
    {
        Credentials? used = _found?.Credentials;
        Credentials? credentials = (await FindAsync(again: renewal.IsSecond || IsAccessToken(renewal.Sent), cancellationToken).ConfigureAwait(false)).Credentials;
        if (credentials?.RegistryToken is { } token)
            return renewal.Sent?.Parameter == token ? null : new Grant(new AuthenticationHeaderValue("Bearer", token), long.MaxValue, CanPush: true);
        if (renewal.IsSecond && credentials == used)
            return null; // a new token would be as good as the one that was refused just now
        try
        {
            return await FetchAsync(credentials).ConfigureAwait(false);
        }
        catch (RegistryException e) when (e.Error == ImageError.Denied)
        {
            Credentials? fresh = (await FindAsync(again: true, cancellationToken).ConfigureAwait(false)).Credentials;
            try
            {
                if (fresh != credentials)
                    return await FetchAsync(fresh).ConfigureAwait(false);
            }
            catch (RegistryException again) when (again.Error == ImageError.Denied)
            {
                // No better.
            }
            if (fresh is null)
                throw;
            _refusedByTokenServer = e.Reason;
            if (renewal.Push)
                throw Refused(e);
            try
            {
                Grant grant = await FetchAsync(null).ConfigureAwait(false);
                logger.CredentialsRefused(endpoint.Host, _found!.Account);
                note($"the token server of {endpoint.Host} refuses {_found.Account}; continuing without credentials");
                return grant;
            }
            catch (RegistryException anonymous) when (anonymous.Error == ImageError.Denied)
            {
                throw Refused(e);
            }
        }

        async Task<Grant> FetchAsync(Credentials? with)
        {
            RegistryToken fetched = await _tokens.FetchAsync(challenge, renewal.Root, Scopes(challenge), with, renewal.Subject, cancellationToken).ConfigureAwait(false);
            if (with is not null)
                _refusedByTokenServer = null;
            // Renewed a little early, so that it does not expire on its way.
            double lifetime = fetched.Lifetime.TotalMilliseconds;
            return new Grant(new AuthenticationHeaderValue("Bearer", fetched.Value), Environment.TickCount64 + (long)(lifetime - Math.Min(10_000, lifetime / 4)), _pushes);
        }

        RegistryException Refused(RegistryException e) => new(ImageError.Denied, $"cannot {(renewal.Push ? "push" : "get")} {renewal.Subject}: {Account}", e)
        {
            Method = e.Method,
            Url = e.Url,
            Status = e.Status,
        };
    }

    private bool IsAccessToken(AuthenticationHeaderValue? sent) => sent?.Scheme == "Bearer" && sent.Parameter == _found?.Credentials?.RegistryToken;

    // Who pushes asks for both at once: some registries answer a token that is for pulling only with 403, not a challenge.
    private string[] Scopes(Challenge challenge)
    {
        string asked = challenge.Parameters.GetValueOrDefault("scope") ?? "", ours = $"repository:{endpoint.Repository}:{(_pushes ? "pull,push" : "pull")}";
        return asked.Length == 0 || _pushes ? [ours]
            : store is null || asked.Contains($":{endpoint.Repository}:", StringComparison.Ordinal) ? [asked] : [asked, ours];
    }

    private async ValueTask<FoundCredentials> FindAsync(bool again, CancellationToken cancellationToken)
    {
        if (store is null)
            return _found = new FoundCredentials(null, "");
        // Who had none may have logged in since.
        again |= _found is { Credentials: null };
        long began = Environment.TickCount64;
        if (_found is { } known && !(again && began >= _lookAgainFrom))
            return known;
        FoundCredentials found = await store.FindAsync(endpoint.Host, endpoint.Repository, cancellationToken).ConfigureAwait(false);
        long now = Environment.TickCount64;
        _lookAgainFrom = again && found.IsFromHelpers ? now + LookAgainFactor * (now - began) : 0;
        // A helper that fails, or a file that is being written, does not take away what was found before: it counts until it is refused.
        return _found = found.Credentials is null && _found?.Credentials is not null ? _found : found;
    }

    /// <param name="Root">The registry's URL that ends in "/v2/".</param>
    /// <param name="Challenge">What the registry asked for; null: what it asked for before.</param>
    /// <param name="Sent">What was refused; null: nothing was sent, or it has expired.</param>
    /// <param name="Push">The request changes the repository.</param>
    /// <param name="IsSecond">What was sent is new, and refused all the same.</param>
    /// <param name="Subject">For sentences.</param>
    private sealed record Renewal(Uri Root, Challenge? Challenge, AuthenticationHeaderValue? Sent, bool Push, bool IsSecond, string Subject);

    private sealed record Grant(AuthenticationHeaderValue Header, long ExpiresAt, bool CanPush)
    {
        public bool Serves(bool push) => Environment.TickCount64 < ExpiresAt && (CanPush || !push);
    }
}
