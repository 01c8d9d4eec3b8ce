using LazyMount.Cli;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace LazyMount.Serving;

/// <summary>A request, its path and query byte for byte.</summary>
internal sealed class WebRequest
{
    private readonly Dictionary<string, string> _query = [];

    public WebRequest(HttpContext context)
    {
        Context = context;
        string target = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        if (!target.StartsWith('/'))
        {
            // The form for proxies has the whole URL.
            int host = target.IndexOf("://", StringComparison.Ordinal) + 3, slash = host < 3 ? -1 : target.IndexOf('/', host);
            target = slash < 0 ? "/" : target[slash..];
        }
        int question = target.IndexOf('?');
        string path = question < 0 ? target : target[..question];
        (Names, EndsWithSlash) = (UrlPath.Decode(path), path.EndsWith('/'));
        foreach (string pair in question < 0 ? [] : target[(question + 1)..].Split('&'))
        {
            int equals = pair.IndexOf('=');
            if (equals > 0 && UrlPath.DecodeValue(pair.AsSpan(equals + 1)) is { } value)
            {
                _query.TryAdd(pair[..equals], ImagePathText.Decode(value));
            }
        }
    }

    public HttpContext Context { get; }

    public HttpResponse Response => Context.Response;

    /// <summary>The client has gone away.</summary>
    public CancellationToken Aborted => Context.RequestAborted;

    /// <summary>The names of the path; null when it is none.</summary>
    public IReadOnlyList<byte[]>? Names { get; }

    public bool EndsWithSlash { get; }

    public bool IsRead => HttpMethods.IsGet(Context.Request.Method) || HttpMethods.IsHead(Context.Request.Method);

    /// <summary>A value of the query as text that keeps all bytes (<see cref="ImagePathText"/>); null when it is not there.</summary>
    public string? Query(string name) => _query.GetValueOrDefault(name);
}
