using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Text;
using LazyMount.Tests.Blobs;

namespace LazyMount.Tests.Published;

/// <summary>Stands before a real registry and counts what is asked of it and what it gives.</summary>
internal sealed class RecordingRegistry : IAsyncDisposable
{
    private readonly HttpClient _client = new(new HttpClientHandler { AllowAutoRedirect = false });
    private readonly ScriptedServer _server;

    public RecordingRegistry(string registry) => _server = new ScriptedServer(async request =>
    {
        if (Instead?.Invoke(request.Path) is { } instead && await instead is { } other)
            return other;
        using var message = new HttpRequestMessage(new HttpMethod(request.Method), $"http://{registry}{request.Path}{(request.Query.Length == 0 ? "" : "?" + request.Query)}");
        message.Headers.Host = _server!.Host; // the registry makes its URLs with it
        foreach (string name in (string[])["Accept", "Range", "Authorization"])
        {
            if (request.Headers.TryGetValue(name, out string? value))
                message.Headers.TryAddWithoutValidation(name, value);
        }
        if (request.Method is "PUT" or "POST")
        {
            message.Content = new ByteArrayContent(Encoding.Latin1.GetBytes(request.Body));
            if (request.Headers.TryGetValue("Content-Type", out string? type))
                message.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        }
        using HttpResponseMessage response = await _client.SendAsync(message);
        byte[] body = request.Method == "HEAD" ? [] : await response.Content.ReadAsByteArrayAsync();
        body = Lie?.Invoke(request.Path, body) ?? body;
        Answers.Enqueue((request.Method, request.Path, (int)response.StatusCode, body.Length));
        return new ScriptedResponse((int)response.StatusCode, body,
            [.. response.Headers.Concat(response.Content.Headers).Where(header => header.Key is "Location" or "Content-Type" or "Content-Range" or "Www-Authenticate" or "WWW-Authenticate").Select(header => $"{header.Key}: {string.Join(", ", header.Value)}")]);
    });

    public string Host => _server.Host;

    /// <summary>What it answers in the place of the registry, told the path; null for what the registry says.</summary>
    public Func<string, Task<ScriptedResponse?>?>? Instead { get; set; }

    /// <summary>What it gives in the place of a body, told the path and the right bytes; null for the right bytes.</summary>
    public Func<string, byte[], byte[]?>? Lie { get; set; }

    /// <summary>Method, path, status, and bytes of the body.</summary>
    public ConcurrentQueue<(string Method, string Path, int Status, int Bytes)> Answers { get; } = new();

    /// <summary>What was asked, without the repository: "GET referrers".</summary>
    public string[] Kinds => [.. Answers.Where(answer => answer.Path != "/v2/").Select(answer => $"{answer.Method} {answer.Path.Split('/')[^2]}")];

    public long BytesOf(string digest) => Answers.Where(answer => answer.Path.EndsWith(digest, StringComparison.Ordinal)).Sum(answer => answer.Bytes);

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _client.Dispose();
    }
}
