using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace LazyMount.TestKit;

/// <summary>
/// A reverse proxy on the loopback interface that does something wrong to some answers. What it does to a request is drawn from
/// the seed, the request's path and range, and how many times that range was asked for before: not from the time or the order of
/// different requests, so that a seed replays. HTTP/1.1 over plain sockets, GET and HEAD only: it decides about every byte.
/// Thread-safe.
/// </summary>
public sealed class FaultProxy : IDisposable
{
    private static readonly TimeSpan s_swapPatience = TimeSpan.FromMilliseconds(150);

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly HttpClient _upstream;
    private readonly int _seed;
    private readonly Fault[] _kinds;
    private readonly ConcurrentDictionary<string, int> _asked = new();
    private readonly int[] _counts = new int[Enum.GetValues<Fault>().Length];
    private readonly Lock _swap = new();
    private (Answer Answer, TaskCompletionSource<Answer> Taken)? _waiting;
    private CancellationTokenSource _healed = new();
    private double _rate;

    /// <param name="upstream">HOST:PORT of the registry.</param>
    /// <param name="seed">Draws the faults.</param>
    /// <param name="kinds">The faults to draw from, all alike; empty: all.</param>
    public FaultProxy(string upstream, int seed, params Fault[] kinds)
    {
        _seed = seed;
        _kinds = kinds.Length > 0 ? kinds : [.. Enum.GetValues<Fault>().Where(kind => kind != Fault.None)];
        _upstream = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false }) { BaseAddress = new Uri($"http://{upstream}") };
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _ = AcceptAsync();
    }

    public int Port { get; }

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{Port}";

    /// <summary>How many of the answers get a fault, from 0 to 1. Setting 0 also ends what is stalled.</summary>
    public double Rate
    {
        get => Volatile.Read(ref _rate);
        set
        {
            Volatile.Write(ref _rate, value);
            if (value == 0)
            {
                Interlocked.Exchange(ref _healed, new CancellationTokenSource()).Cancel();
            }
        }
    }

    /// <summary>How long a stall lasts, and at most how long headers are delayed and bytes drip.</summary>
    public TimeSpan StallTime { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Only requests whose path holds this get faults.</summary>
    public string OnlyPaths { get; init; } = "";

    /// <summary>Requests so far.</summary>
    public int Requests => _counts.Sum();

    /// <summary>How often each fault happened, <see cref="Fault.None"/> included. A fault that the request left no room for counts as none.</summary>
    public IReadOnlyDictionary<Fault, int> Counts => Enum.GetValues<Fault>().ToDictionary(kind => kind, kind => Volatile.Read(ref _counts[(int)kind]));

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        _upstream.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket client = await _listener.AcceptSocketAsync(_stop.Token);
                _ = ServeAsync(client);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(Socket client)
    {
        using (client)
        {
            try
            {
                client.NoDelay = true;
                var reader = new RequestReader(client);
                while (await reader.ReadAsync(_stop.Token) is { } request && await AnswerAsync(client, request))
                {
                }
            }
            catch (Exception e) when (e is OperationCanceledException or IOException or SocketException or HttpRequestException or ObjectDisposedException)
            {
                // One side has gone.
            }
        }
    }

    /// <summary>Answers one request. False: the connection is done for.</summary>
    private async Task<bool> AnswerAsync(Socket client, Request request)
    {
        if (request.Path.StartsWith("/token", StringComparison.Ordinal))
        {
            await SendAsync(client, Answer.Of(200, "application/json", """{"token":"anything","expires_in":300}"""), request);
            return true;
        }
        CancellationToken healed = Volatile.Read(ref _healed).Token;
        (Fault fault, Random random) = Draw(request);
        Answer answer = await FetchAsync(request, fault == Fault.RangeIgnored ? null : request.Range, fault == Fault.WrongRange);
        if (fault == Fault.None || !IsPossible(fault, request, answer))
        {
            Count(Fault.None);
            await SendAsync(client, answer, request);
            return true;
        }
        if (fault == Fault.Swapped && await SwapAsync(answer, request, healed) is var other)
        {
            Count(ReferenceEquals(other, answer) ? Fault.None : Fault.Swapped);
            await SendAsync(client, other, request);
            return true;
        }
        Count(fault);
        return await SpoilAsync(client, request, answer, fault, random, healed);
    }

    private void Count(Fault fault) => Interlocked.Increment(ref _counts[(int)fault]);

    private (Fault, Random) Draw(Request request)
    {
        string key = $"{request.Method} {request.Path} {request.Range}";
        int time = _asked.AddOrUpdate(key, 0, (_, last) => last + 1);
        var random = new Random(Hash($"{_seed} {key} {time}"));
        bool faulty = random.NextDouble() < Rate && request.Path.Contains(OnlyPaths, StringComparison.Ordinal);
        Fault kind = _kinds[random.Next(_kinds.Length)];
        return (faulty ? kind : Fault.None, random);
    }

    // FNV-1a: string.GetHashCode differs from process to process.
    private static int Hash(string text) => (int)text.Aggregate(2166136261u, (hash, c) => unchecked((hash ^ c) * 16777619u));

    private static bool IsPossible(Fault fault, Request request, Answer answer) => fault switch
    {
        Fault.Cut or Fault.Reset or Fault.Stall or Fault.Drip or Fault.CorruptByte or Fault.TooShort or Fault.Empty or Fault.Repeated or Fault.TooLong or Fault.Gzip
            => request.Method == "GET" && answer.Body.Length > 1,
        Fault.WrongContentRange or Fault.WrongRange or Fault.RangeIgnored or Fault.RangeBadRequest or Fault.RangeNotSatisfiable or Fault.RangeNotImplemented
            => request.Range is not null,
        _ => true,
    };

    private async Task<Answer> FetchAsync(Request request, string? range, bool shifted)
    {
        string? asked = range;
        if (shifted && range is not null && ParseRange(range) is var (first, last) && first > 0)
        {
            long shift = Math.Min(first, 4096);
            range = string.Create(CultureInfo.InvariantCulture, $"bytes={first - shift}-{last - shift}");
        }
        using var message = new HttpRequestMessage(new HttpMethod(request.Method), request.Path);
        foreach ((string name, string value) in request.Headers)
        {
            if (name is "accept" or "authorization")
            {
                message.Headers.TryAddWithoutValidation(name, value);
            }
        }
        if (range is not null)
        {
            message.Headers.TryAddWithoutValidation("Range", range);
        }
        using HttpResponseMessage response = await _upstream.SendAsync(message, _stop.Token);
        byte[] body = await response.Content.ReadAsByteArrayAsync(_stop.Token);
        var headers = new List<(string, string)>();
        foreach ((string name, IEnumerable<string> values) in response.Headers.Concat(response.Content.Headers))
        {
            string value = string.Join(", ", values);
            if (name == "Content-Range" && shifted && asked is not null)
            {
                value = $"{asked.Replace('=', ' ')}/{value[(value.LastIndexOf('/') + 1)..]}";
            }
            if (name is not ("Content-Length" or "Transfer-Encoding" or "Connection" or "Date"))
            {
                headers.Add((name, value));
            }
        }
        return new Answer((int)response.StatusCode, headers, body) { Length = request.Method == "HEAD" ? response.Content.Headers.ContentLength : body.Length };
    }

    private static (long First, long Last) ParseRange(string range)
    {
        string[] ends = range["bytes=".Length..].Split('-');
        return (long.Parse(ends[0], CultureInfo.InvariantCulture), long.Parse(ends[1], CultureInfo.InvariantCulture));
    }

    /// <summary>The answer of another request that is swapped at this time, or the same one when there is none.</summary>
    private async Task<Answer> SwapAsync(Answer answer, Request request, CancellationToken healed)
    {
        if (request.Method != "GET")
        {
            return answer;
        }
        TaskCompletionSource<Answer> mine;
        lock (_swap)
        {
            if (_waiting is { } other && other.Taken.TrySetResult(answer))
            {
                _waiting = null;
                return other.Answer;
            }
            mine = new TaskCompletionSource<Answer>(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting = (answer, mine);
        }
        await PauseAsync(s_swapPatience, healed, until: mine.Task);
        return mine.TrySetResult(answer) ? answer : await mine.Task;
    }

    private async Task<bool> SpoilAsync(Socket client, Request request, Answer answer, Fault fault, Random random, CancellationToken healed)
    {
        byte[] body = answer.Body;
        int somewhere = body.Length == 0 ? 0 : random.Next(body.Length);
        switch (fault)
        {
            case Fault.Cut or Fault.Reset:
                await client.SendAsync(answer.Head(body.Length, request), _stop.Token);
                await client.SendAsync(body.AsMemory(0, somewhere), _stop.Token);
                if (fault == Fault.Reset)
                {
                    client.LingerState = new LingerOption(true, 0);
                }
                return false;
            case Fault.NoAnswer:
                return false;
            case Fault.DelayedHeaders:
                await PauseAsync(StallTime * random.NextDouble(), healed);
                break;
            case Fault.Stall:
                await client.SendAsync(answer.Head(body.Length, request), _stop.Token);
                await client.SendAsync(body.AsMemory(0, somewhere), _stop.Token);
                await PauseAsync(StallTime, healed);
                await client.SendAsync(body.AsMemory(somewhere), _stop.Token);
                return true;
            case Fault.Drip:
                await client.SendAsync(answer.Head(body.Length, request), _stop.Token);
                int piece = Math.Max(1, body.Length / 20);
                for (int at = 0; at < body.Length; at += piece)
                {
                    await client.SendAsync(body.AsMemory(at, Math.Min(piece, body.Length - at)), _stop.Token);
                    await PauseAsync(StallTime * random.NextDouble() / 20, healed);
                }
                return true;
            case Fault.CorruptByte:
                body = [.. body];
                body[somewhere] ^= (byte)(1 << random.Next(8));
                answer = answer with { Body = body };
                break;
            case Fault.TooShort:
                answer = answer with { Body = body[..somewhere], Length = somewhere };
                break;
            case Fault.TooLong:
                byte[] more = new byte[1 + random.Next(5000)];
                random.NextBytes(more);
                answer = answer with { Body = [.. body, .. more], Length = body.Length + more.Length };
                break;
            case Fault.Empty:
                answer = answer with { Body = [], Length = 0 };
                break;
            case Fault.Repeated:
                answer = answer with { Body = [.. body, .. body], Length = 2L * body.Length };
                break;
            case Fault.Gzip:
                byte[] gzip = OciLayoutBuilder.Gzip(body);
                answer = answer with { Body = gzip, Length = gzip.Length, Headers = [.. answer.Headers, ("Content-Encoding", "gzip")] };
                break;
            case Fault.Chunked:
                answer = answer with { Length = null };
                break;
            case Fault.WrongContentRange:
                answer = answer with { Headers = [.. answer.Headers.Where(header => header.Name != "Content-Range"), ("Content-Range", $"bytes {somewhere}-{somewhere + body.Length - 1}/{random.Next(1 << 30)}")] };
                break;
            case Fault.WrongRange or Fault.RangeIgnored:
                break; // fetched so
            case Fault.Html:
                answer = Answer.Of(200, "text/html", "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please accept the terms of this network.</body></html>");
                break;
            case Fault.Challenged:
                answer = request.Headers.Any(header => header.Name == "authorization" && header.Value.StartsWith("Bearer", StringComparison.Ordinal)) && random.Next(2) == 0
                    ? answer : StatusOnly(401) with { Headers = [("WWW-Authenticate", $"Bearer realm=\"http://{Host}/token\",service=\"faulty\"")] };
                break;
            case Fault.TooManyNow or Fault.TooManySoon or Fault.TooManyDate or Fault.TooManyHours:
                string when = fault switch
                {
                    Fault.TooManyNow => "0",
                    Fault.TooManySoon => "1",
                    Fault.TooManyDate => DateTimeOffset.UtcNow.AddSeconds(2).ToString("R", CultureInfo.InvariantCulture),
                    _ => "7200",
                };
                answer = StatusOnly(429) with { Headers = [("Retry-After", when)] };
                break;
            case Fault.Redirected:
                answer = StatusOnly(307) with { Headers = [("Location", request.Path)] };
                break;
            default:
                answer = StatusOnly(fault switch
                {
                    Fault.RangeBadRequest => 400,
                    Fault.RangeNotSatisfiable => 416,
                    Fault.RangeNotImplemented => 501,
                    Fault.Unauthorized => 401,
                    Fault.Forbidden => 403,
                    Fault.NotFound => 404,
                    Fault.TooMany => 429,
                    Fault.BadGateway => 502,
                    Fault.Unavailable => 503,
                    Fault.GatewayTimeout => 504,
                    _ => 500,
                });
                break;
        }
        await SendAsync(client, answer, request);
        return true;
    }

    private static Answer StatusOnly(int status) => Answer.Of(status, "text/plain", "a fault\n");

    private async Task SendAsync(Socket client, Answer answer, Request request)
    {
        await client.SendAsync(answer.Head(answer.Length, request), _stop.Token);
        if (request.Method == "HEAD")
        {
            return;
        }
        if (answer.Length is not null)
        {
            await client.SendAsync(answer.Body, _stop.Token);
            return;
        }
        for (int at = 0; at < answer.Body.Length; at += 10_000)
        {
            int length = Math.Min(10_000, answer.Body.Length - at);
            await client.SendAsync(Encoding.ASCII.GetBytes($"{length:x}\r\n"), _stop.Token);
            await client.SendAsync(answer.Body.AsMemory(at, length), _stop.Token);
            await client.SendAsync("\r\n"u8.ToArray(), _stop.Token);
        }
        await client.SendAsync("0\r\n\r\n"u8.ToArray(), _stop.Token);
    }

    private async Task PauseAsync(TimeSpan time, CancellationToken healed, Task? until = null)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(healed, _stop.Token);
        Task pause = Task.Delay(time, either.Token);
        await Task.WhenAny(until is null ? [pause] : [pause, until]);
        _stop.Token.ThrowIfCancellationRequested();
    }

    private sealed record Request(string Method, string Path, IReadOnlyList<(string Name, string Value)> Headers)
    {
        public string? Range { get; } = Headers.FirstOrDefault(header => header.Name == "range").Value;
    }

    /// <param name="Status">The status code.</param>
    /// <param name="Headers">All but those about the length.</param>
    /// <param name="Body">The body.</param>
    private sealed record Answer(int Status, IReadOnlyList<(string Name, string Value)> Headers, byte[] Body)
    {
        /// <summary>Content-Length; null: chunked.</summary>
        public required long? Length { get; init; }

        public static Answer Of(int status, string type, string text)
        {
            byte[] body = Encoding.UTF8.GetBytes(text);
            return new Answer(status, [("Content-Type", type)], body) { Length = body.Length };
        }

        /// <summary>The status line and the headers.</summary>
        public byte[] Head(long? length, Request request)
        {
            var text = new StringBuilder($"HTTP/1.1 {Status} {(HttpStatusCode)Status}\r\n");
            foreach ((string name, string value) in Headers)
            {
                text.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
            }
            if (length is not null || request.Method != "HEAD")
            {
                text.Append(length is null ? "Transfer-Encoding: chunked\r\n" : string.Create(CultureInfo.InvariantCulture, $"Content-Length: {length}\r\n"));
            }
            return Encoding.ASCII.GetBytes(text.Append("\r\n").ToString());
        }
    }

    /// <summary>The requests that come over one connection, one after the other.</summary>
    private sealed class RequestReader(Socket client)
    {
        private readonly List<byte> _bytes = [];
        private readonly byte[] _buffer = new byte[8192];

        /// <summary>The next request; null at the end of the connection, or when what comes is no HTTP, such as a TLS hello.</summary>
        public async Task<Request?> ReadAsync(CancellationToken stop)
        {
            int end;
            while ((end = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes).IndexOf("\r\n\r\n"u8)) < 0)
            {
                int read = await client.ReceiveAsync(_buffer, stop);
                if (read == 0)
                {
                    return null;
                }
                _bytes.AddRange(_buffer.AsSpan(0, read));
                if (_bytes[0] is not ((byte)'G' or (byte)'H'))
                {
                    return null;
                }
            }
            string[] lines = Encoding.ASCII.GetString([.. _bytes[..end]]).Split("\r\n");
            _bytes.RemoveRange(0, end + 4);
            string[] first = lines[0].Split(' ');
            return new Request(first[0], first[1], [.. lines[1..].Select(line => line.Split(':', 2)).Select(pair => (pair[0].Trim().ToLowerInvariant(), pair[1].Trim()))]);
        }
    }
}
