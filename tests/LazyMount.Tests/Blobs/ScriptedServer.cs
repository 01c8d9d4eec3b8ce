using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace LazyMount.Tests.Blobs;

internal sealed record ScriptedRequest(string Method, string Path, string Query, IReadOnlyDictionary<string, string> Headers, string Body)
{
    public string? Authorization => Headers.GetValueOrDefault("Authorization");

    /// <summary>First and last byte asked for, or null.</summary>
    public (int First, int Last)? Range
    {
        get
        {
            if (!Headers.TryGetValue("Range", out string? range))
                return null;
            string[] ends = range["bytes=".Length..].Split('-');
            return (int.Parse(ends[0], CultureInfo.InvariantCulture), int.Parse(ends[1], CultureInfo.InvariantCulture));
        }
    }
}

internal sealed record ScriptedResponse(int Status, byte[] Body, params string[] Headers)
{
    public ScriptedResponse(int status, string body = "", params string[] headers) : this(status, Encoding.UTF8.GetBytes(body), headers)
    {
    }

    /// <summary>Bytes of the body to send before the connection is reset; null for all.</summary>
    public int? CutAfter { get; init; }

    /// <summary>Announce no length and send the body again and again, until the client hangs up.</summary>
    public bool Endless { get; init; }

    /// <summary>Announce no length: the end of the connection is the end of the body.</summary>
    public bool HasNoLength { get; init; }

    /// <summary>After <see cref="CutAfter"/> bytes, go silent instead.</summary>
    public bool Stall { get; init; }

    /// <summary>How long to wait before each byte of the body.</summary>
    public TimeSpan? Drip { get; init; }

    /// <summary>The part of some content that a range asks for, as a well-behaved server gives it.</summary>
    public static ScriptedResponse Of(byte[] content, ScriptedRequest request)
        => request.Range is { } range
            ? new ScriptedResponse(206, content[range.First..(range.Last + 1)], $"Content-Range: bytes {range.First}-{range.Last}/{content.Length}")
            : new ScriptedResponse(200, content);
}

/// <summary>An HTTP server on loopback that does what a test tells it, right or wrong: docker-registry cannot misbehave.</summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _end = new();
    private readonly Task _accepting;

    /// <param name="answer">What it does at first.</param>
    /// <param name="port">Where it listens; 0 for any port that is free.</param>
    public ScriptedServer(Func<ScriptedRequest, ScriptedResponse> answer, int port = 0)
        : this(request => Task.FromResult(answer(request)), port)
    {
    }

    public ScriptedServer(Func<ScriptedRequest, Task<ScriptedResponse>> answer, int port = 0)
    {
        _listener = new TcpListener(IPAddress.Loopback, port);
        Answer = answer;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>What it does from now on.</summary>
    public Func<ScriptedRequest, Task<ScriptedResponse>> Answer { get; set; }

    public string Host => _listener.LocalEndpoint.ToString()!;

    public ConcurrentQueue<ScriptedRequest> Requests { get; } = new();

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Stop();
        await _accepting;
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await _listener.AcceptSocketAsync(_end.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or InvalidOperationException)
        {
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using Socket owned = socket;
        try
        {
            if (await ReadRequestAsync(socket) is not { } request)
            {
                // As Go's and nginx's servers answer a TLS greeting.
                await socket.SendAsync("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"u8.ToArray(), _end.Token);
                return;
            }
            Requests.Enqueue(request);
            ScriptedResponse response = await Answer(request);
            string head = $"HTTP/1.1 {response.Status} Scripted\r\n{(response.Endless || response.HasNoLength ? "" : $"Content-Length: {response.Body.Length}\r\n")}Connection: close\r\n"
                + string.Concat(response.Headers.Select(header => header + "\r\n")) + "\r\n";
            await socket.SendAsync(Encoding.ASCII.GetBytes(head), _end.Token);
            for (int i = 0; response.Drip is { } drip && i < response.Body.Length; i++)
            {
                await Task.Delay(drip, _end.Token);
                await socket.SendAsync(response.Body.AsMemory(i, 1), _end.Token);
            }
            await socket.SendAsync(response.Body.AsMemory(0, response.CutAfter ?? response.Body.Length), _end.Token);
            while (response.Endless)
                await socket.SendAsync(response.Body, _end.Token);
            if (response.Stall)
                await Task.Delay(Timeout.Infinite, _end.Token);
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
        }
    }

    // Null for a TLS handshake: this server does not know what that is.
    private async Task<ScriptedRequest?> ReadRequestAsync(Socket socket)
    {
        var text = new StringBuilder();
        byte[] buffer = new byte[8192];
        int headEnd;
        while ((headEnd = text.ToString().IndexOf("\r\n\r\n", StringComparison.Ordinal)) < 0)
        {
            int read = await socket.ReceiveAsync(buffer, _end.Token);
            if (read == 0 || buffer[0] == 0x16)
                return null;
            text.Append(Encoding.Latin1.GetString(buffer, 0, read));
        }
        string[] lines = text.ToString(0, headEnd).Split("\r\n");
        var headers = lines.Skip(1).Select(line => line.Split(": ", 2)).ToDictionary(pair => pair[0], pair => pair[1], StringComparer.OrdinalIgnoreCase);
        int bodyLength = int.Parse(headers.GetValueOrDefault("Content-Length", "0"), CultureInfo.InvariantCulture);
        while (text.Length < headEnd + 4 + bodyLength)
        {
            int read = await socket.ReceiveAsync(buffer, _end.Token);
            if (read == 0)
                return null;
            text.Append(Encoding.Latin1.GetString(buffer, 0, read));
        }
        string[] start = lines[0].Split(' ');
        string[] target = start[1].Split('?', 2);
        return new ScriptedRequest(start[0], target[0], target.Length > 1 ? Uri.UnescapeDataString(target[1]) : "", headers, text.ToString(headEnd + 4, bodyLength));
    }
}
