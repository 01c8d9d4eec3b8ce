using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace LazyMount.TestKit;

/// <summary>
/// A registry that keeps its blobs at another host, as those do that store them in S3: a front that passes everything to a
/// <see cref="RegistryServer"/>, but answers a GET of a blob, when the registry would give it, with 307 to a signed URL that
/// expires. The other host checks the signature over every byte of the URL, refuses expired ones with 403 and, as S3 does,
/// requests with an Authorization header with 400. Thread-safe.
/// </summary>
public sealed class BlobRedirector : IDisposable
{
    private readonly RegistryServer _registry;
    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly HttpClient _client = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false });
    private readonly LoopbackWebServer _front, _blobs;
    private int _redirected, _served, _expired, _refused, _withSecrets;

    public BlobRedirector(RegistryServer registry)
    {
        _registry = registry;
        _front = new LoopbackWebServer(AnswerAsync);
        _blobs = new LoopbackWebServer(GiveBlobAsync);
    }

    /// <summary>HOST:PORT of the registry.</summary>
    public string Host => $"127.0.0.1:{_front.Port}";

    /// <summary>HOST:PORT of the host of blobs.</summary>
    public string BlobHost => $"localhost:{_blobs.Port}";

    /// <summary>How long a signed URL is good from now on.</summary>
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>Signed URLs that were given out.</summary>
    public int Redirected => _redirected;

    /// <summary>Answers with bytes.</summary>
    public int Served => _served;

    /// <summary>Refused because the URL had expired.</summary>
    public int Expired => _expired;

    /// <summary>Refused because the URL was not the one that was given out.</summary>
    public int Refused => _refused;

    /// <summary>Requests to the host of blobs with an Authorization or Cookie header.</summary>
    public int WithSecrets => _withSecrets;

    public void Dispose()
    {
        _front.Dispose();
        _blobs.Dispose();
        _client.Dispose();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        string target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        bool isBlob = HttpMethods.IsGet(request.Method) && target.Contains("/blobs/sha256:", StringComparison.Ordinal);
        using var passed = new HttpRequestMessage(isBlob ? HttpMethod.Head : new HttpMethod(request.Method), $"http://{_registry.Host}{target}");
        passed.Headers.Host = request.Host.Value;
        foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in request.Headers)
        {
            if (name is "Authorization" or "Accept")
            {
                passed.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values);
            }
        }
        using HttpResponseMessage answer = await _client.SendAsync(passed, HttpCompletionOption.ResponseHeadersRead, context.RequestAborted);
        context.Response.StatusCode = (int)answer.StatusCode;
        if (isBlob && answer.IsSuccessStatusCode)
        {
            Interlocked.Increment(ref _redirected);
            context.Response.StatusCode = StatusCodes.Status307TemporaryRedirect;
            context.Response.Headers.Location = $"http://{BlobHost}{SignedTarget(target[(target.LastIndexOf('/') + 1)..])}";
            context.Response.Headers.SetCookie = "registry=secret; Path=/";
            return;
        }
        foreach ((string name, IEnumerable<string> values) in answer.Headers.NonValidated.Select(header => (header.Key, (IEnumerable<string>)header.Value)).Concat(answer.Content.Headers.NonValidated.Select(header => (header.Key, (IEnumerable<string>)header.Value))))
        {
            if (name is not ("Transfer-Encoding" or "Connection"))
            {
                context.Response.Headers.Append(name, values.ToArray());
            }
        }
        await answer.Content.CopyToAsync(context.Response.Body, context.RequestAborted);
    }

    private async Task GiveBlobAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        string target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        if (request.Headers.Authorization.Count > 0 || request.Headers.Cookie.Count > 0)
        {
            Interlocked.Increment(ref _withSecrets);
            await RefuseAsync(StatusCodes.Status400BadRequest, "InvalidArgument", "Only one auth mechanism allowed");
            return;
        }
        int signature = target.IndexOf("&X-Signature=", StringComparison.Ordinal);
        if (signature < 0 || target[(signature + "&X-Signature=".Length)..] != Sign(target[..signature]))
        {
            Interlocked.Increment(ref _refused);
            await RefuseAsync(StatusCodes.Status403Forbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided");
            return;
        }
        if (long.Parse(request.Query["X-Expires"].ToString(), CultureInfo.InvariantCulture) < DateTimeOffset.UtcNow.ToUnixTimeMilliseconds())
        {
            Interlocked.Increment(ref _expired);
            await RefuseAsync(StatusCodes.Status403Forbidden, "AccessDenied", "Request has expired");
            return;
        }
        Interlocked.Increment(ref _served);
        await Results.File(_registry.BlobFile(request.Path.Value![(request.Path.Value!.LastIndexOf('/') + 1)..]), "application/octet-stream", enableRangeProcessing: true).ExecuteAsync(context);

        Task RefuseAsync(int status, string code, string message)
        {
            context.Response.StatusCode = status;
            context.Response.ContentType = "application/xml";
            return context.Response.WriteAsync($"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>", context.RequestAborted);
        }
    }

    // With what URL classes like to write in another way: an escaped tilde, a bar, escaped slashes.
    private string SignedTarget(string digest)
    {
        string target = string.Create(CultureInfo.InvariantCulture,
            $"/store/%7Eblobs/{digest}?X-Expires={(DateTimeOffset.UtcNow + Lifetime).ToUnixTimeMilliseconds()}&X-Scope=a%2Fb|c%7Ed&disposition=filename%3D%22x%22");
        return $"{target}&X-Signature={Sign(target)}";
    }

    private string Sign(string text) => Convert.ToHexStringLower(HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(text)));
}
