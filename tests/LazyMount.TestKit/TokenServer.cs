using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace LazyMount.TestKit;

/// <summary>A request that a <see cref="TokenServer"/> has got.</summary>
/// <param name="Method">GET or POST.</param>
/// <param name="Path">The path, without the query.</param>
/// <param name="Grant">"basic", "anonymous", "refresh_token", "password", or what else grant_type says.</param>
/// <param name="User">Who asks, as far as the request tells.</param>
/// <param name="Scope">The scopes asked for, separated by spaces.</param>
/// <param name="Status">How it was answered.</param>
public sealed record TokenRequest(string Method, string Path, string Grant, string User, string Scope, int Status)
{
    /// <summary>It came with a password or a refresh token.</summary>
    public bool HasCredentials => Grant != "anonymous";
}

/// <summary>
/// A token server as registries have one (distribution: "Token Authentication Specification" and "OAuth2 Token Authentication"),
/// whose tokens docker-registry accepts: JWTs signed with ES256, with the certificate in the header. Everything about it can be
/// changed while it runs. Thread-safe.
/// </summary>
public sealed class TokenServer : IDisposable
{
    /// <summary>What the registry must be told besides <see cref="CertificateBundle"/>.</summary>
    public const string Issuer = "testkit", Service = "registry.test";

    // docker-registry accepts a token until this long after it has expired (libtrust's leeway in registry/auth/token).
    private static readonly TimeSpan s_leeway = TimeSpan.FromSeconds(60);

    private readonly TemporaryDirectory _directory = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<string, string> _passwords = [], _refreshTokens = [];
    private readonly List<TokenRequest> _requests = [];
    private readonly LoopbackWebServer _server;
    private ECDsa _key = null!;
    private string _certificate = "";

    /// <param name="certificate">Speak TLS with this certificate; null: plain HTTP.</param>
    public TokenServer(X509Certificate2? certificate = null)
    {
        RotateKey();
        _server = new LoopbackWebServer(AnswerAsync, certificate);
        Realm = new Uri($"{_server.Scheme}://127.0.0.1:{_server.Port}/token");
    }

    /// <summary>The address that the registry's challenge names.</summary>
    public Uri Realm { get; set; }

    /// <summary>The PEM file of the certificate that signs tokens: the registry's rootcertbundle.</summary>
    public string CertificateBundle => _directory["signer.pem"];

    /// <summary>How long a token is accepted by the registry, and what expires_in says.</summary>
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>What expires_in says when that is not the truth; <see cref="TimeSpan.Zero"/>: nothing.</summary>
    public TimeSpan? ClaimedLifetime { get; set; }

    /// <summary>Those without credentials may pull.</summary>
    public bool AllowsAnonymousPull { get; set; }

    /// <summary>Every POST is answered with this status, as servers do that do not know OAuth2 (404, 405).</summary>
    public int? PostStatus { get; set; }

    /// <summary>Every request is answered with this status.</summary>
    public int? Status { get; set; }

    /// <summary>Answers with a web page and 200 ("POST", "GET" or both).</summary>
    public string AnswersHtmlTo { get; set; } = "";

    /// <summary>expires_in is a JSON string.</summary>
    public bool ExpiresInIsText { get; set; }

    /// <summary>The token stands in "access_token" only.</summary>
    public bool NamesAccessTokenOnly { get; set; }

    /// <summary>Requests for the realm are redirected there with <see cref="RedirectStatus"/>, the query added: to another path of this server or to another host.</summary>
    public Uri? RedirectsTo { get; set; }

    public int RedirectStatus { get; set; } = StatusCodes.Status307TemporaryRedirect;

    /// <summary>Waits before each answer.</summary>
    public TimeSpan Delay { get; set; }

    /// <summary>The requests so far, in their order.</summary>
    public IReadOnlyList<TokenRequest> Requests
    {
        get
        {
            lock (_lock)
            {
                return [.. _requests];
            }
        }
    }

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{_server.Port}";

    /// <summary>Adds a user, or changes the password; tokens that were given out stay good.</summary>
    public void SetPassword(string user, string password)
    {
        lock (_lock)
        {
            _passwords[user] = password;
        }
    }

    /// <summary>A refresh token for a user: what docker's config.json calls an identity token.</summary>
    public string NewRefreshToken(string user)
    {
        string token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        lock (_lock)
        {
            _refreshTokens[token] = user;
        }
        return token;
    }

    /// <summary>No refresh token that was given out is accepted any more.</summary>
    public void RevokeRefreshTokens()
    {
        lock (_lock)
        {
            _refreshTokens.Clear();
        }
    }

    /// <summary>Signs with a new key from now on. A registry that is started again refuses all tokens that were given out before.</summary>
    public void RotateKey()
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=token signer", key, HashAlgorithmName.SHA256);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddDays(1));
        lock (_lock)
        {
            (_key, _certificate) = (key, Convert.ToBase64String(certificate.RawData));
        }
        File.WriteAllText(CertificateBundle, certificate.ExportCertificatePem());
    }

    public void Dispose()
    {
        _server.Dispose();
        _key.Dispose();
        _directory.Dispose();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        IFormCollection form = HttpMethods.IsPost(request.Method) && request.HasFormContentType
            ? await request.ReadFormAsync(context.RequestAborted) : FormCollection.Empty;
        string[] scopes = [.. request.Query["scope"].Concat(form["scope"]).SelectMany(scope => scope!.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
        (string grant, string claimed, string? user) = Identify(request, form);
        await Task.Delay(Delay, context.RequestAborted);

        (int status, string type, string body) = (StatusCodes.Status200OK, "application/json", "");
        if (RedirectsTo is { } target && request.Path == Realm.AbsolutePath && target.AbsolutePath + target.Authority != Realm.AbsolutePath + Realm.Authority)
        {
            status = RedirectStatus;
            context.Response.Headers.Location = target.ToString() + request.QueryString;
        }
        else if ((HttpMethods.IsPost(request.Method) ? PostStatus ?? Status : Status) is { } fixedStatus)
        {
            (status, body) = (fixedStatus, Error("UNSUPPORTED", "not here"));
        }
        else if (AnswersHtmlTo.Contains(request.Method, StringComparison.Ordinal))
        {
            (type, body) = ("text/html", "<!DOCTYPE html><html><body>Please log in</body></html>");
        }
        else if (user is null)
        {
            (status, body) = (StatusCodes.Status401Unauthorized, Error("UNAUTHORIZED", "authentication required"));
        }
        else
        {
            body = Grant(user, scopes, wantsRefreshToken: request.Query["offline_token"] == "true" || form["access_type"] == "offline").ToJsonString();
        }
        lock (_lock)
        {
            _requests.Add(new TokenRequest(request.Method, request.Path, grant, claimed, string.Join(' ', scopes), status));
        }
        context.Response.StatusCode = status;
        context.Response.ContentType = type;
        await context.Response.WriteAsync(body, context.RequestAborted);
    }

    /// <summary>How the request tries to prove who asks, who that is said to be, and who it is: "" for nobody in particular, null for a refusal.</summary>
    private (string Grant, string Claimed, string? User) Identify(HttpRequest request, IFormCollection form)
    {
        lock (_lock)
        {
            if (form["grant_type"] is [{ } grant])
            {
                if (grant == "refresh_token")
                {
                    string? owner = _refreshTokens.GetValueOrDefault(form["refresh_token"].ToString());
                    return (grant, owner ?? "", owner);
                }
                return (grant, form["username"].ToString(), grant == "password" ? Check(form["username"].ToString(), form["password"].ToString()) : null);
            }
            if (request.Headers.Authorization.ToString() is { Length: > 0 } header)
            {
                if (!header.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase))
                {
                    return ("other", "", null);
                }
                string[] pair = Encoding.UTF8.GetString(Convert.FromBase64String(header["Basic ".Length..])).Split(':', 2);
                return ("basic", pair[0], Check(pair[0], pair[^1]));
            }
            return ("anonymous", "", AllowsAnonymousPull ? "" : null);
        }

        string? Check(string user, string password) => _passwords.TryGetValue(user, out string? expected) && expected == password ? user : null;
    }

    private JsonObject Grant(string user, string[] scopes, bool wantsRefreshToken)
    {
        var access = new JsonArray();
        foreach (string scope in scopes)
        {
            // TYPE:NAME:ACTION,ACTION, where a name may hold colons.
            int name = scope.IndexOf(':', StringComparison.Ordinal) + 1, actions = scope.LastIndexOf(':');
            if (name == 0 || actions < name)
            {
                continue;
            }
            IEnumerable<string> allowed = scope[(actions + 1)..].Split(',').Where(action => user.Length > 0 || action == "pull");
            access.Add((JsonNode)new JsonObject { ["type"] = scope[..(name - 1)], ["name"] = scope[name..actions], ["actions"] = new JsonArray([.. allowed.Select(action => (JsonNode)action)]) });
        }
        DateTimeOffset now = DateTimeOffset.UtcNow;
        string token = Sign(new JsonObject
        {
            ["iss"] = Issuer,
            ["sub"] = user,
            ["aud"] = Service,
            ["exp"] = (now + Lifetime - s_leeway).ToUnixTimeSeconds(),
            ["nbf"] = (now - s_leeway - Lifetime).ToUnixTimeSeconds(),
            ["iat"] = now.ToUnixTimeSeconds(),
            ["jti"] = Guid.NewGuid().ToString("N"),
            ["access"] = access,
        });
        var answer = new JsonObject { ["access_token"] = token, ["issued_at"] = now.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture) };
        if (!NamesAccessTokenOnly)
        {
            answer["token"] = token;
        }
        if ((ClaimedLifetime ?? Lifetime) is { Ticks: > 0 } lifetime)
        {
            answer["expires_in"] = ExpiresInIsText ? ((long)lifetime.TotalSeconds).ToString(CultureInfo.InvariantCulture) : (long)lifetime.TotalSeconds;
        }
        if (wantsRefreshToken && user.Length > 0)
        {
            answer["refresh_token"] = NewRefreshToken(user);
        }
        return answer;
    }

    private string Sign(JsonObject claims)
    {
        lock (_lock)
        {
            var header = new JsonObject { ["typ"] = "JWT", ["alg"] = "ES256", ["x5c"] = new JsonArray(_certificate) };
            string text = $"{Base64Url(header.ToJsonString())}.{Base64Url(claims.ToJsonString())}";
            return $"{text}.{Base64Url(_key.SignData(Encoding.ASCII.GetBytes(text), HashAlgorithmName.SHA256))}";
        }
    }

    private static string Error(string code, string message)
        => new JsonObject { ["errors"] = new JsonArray(new JsonObject { ["code"] = code, ["message"] = message }) }.ToJsonString();

    private static string Base64Url(string text) => Base64Url(Encoding.UTF8.GetBytes(text));

    private static string Base64Url(byte[] bytes) => System.Buffers.Text.Base64Url.EncodeToString(bytes);
}
