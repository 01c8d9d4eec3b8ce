using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;

namespace LazyMount.TestKit;

/// <summary>
/// A page in a real, headless Chromium, driven by its DevTools protocol. It notes every error that the page or the browser tells, and every
/// address that is asked for. Disposing ends the browser.
/// </summary>
public sealed class Browser : IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

    private readonly TemporaryDirectory _profile = new();
    private readonly Tool _chromium;
    private readonly ClientWebSocket _socket = new();
    private readonly ConcurrentDictionary<int, TaskCompletionSource<JsonNode?>> _calls = new();
    private readonly SemaphoreSlim _loaded = new(0);
    private readonly string _session;
    private int _lastCall;

    public Browser()
    {
        _chromium = Tool.Start("chromium", ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
            "--remote-debugging-port=0", $"--user-data-dir={_profile["profile"]}", "about:blank"]);
        string port = Path.Combine(_profile["profile"], "DevToolsActivePort");
        for (DateTime limit = DateTime.UtcNow + s_limit; !File.Exists(port) || File.ReadAllLines(port).Length < 2; Thread.Sleep(50))
        {
            if (_chromium.HasExited || DateTime.UtcNow > limit)
            {
                throw new InvalidOperationException("chromium did not start");
            }
        }
        string[] lines = File.ReadAllLines(port);
        _socket.ConnectAsync(new Uri($"ws://127.0.0.1:{lines[0]}{lines[1]}"), CancellationToken.None).Wait(s_limit);
        _ = Task.Run(ListenAsync);
        string target = (string)Call("Target.createTarget", new JsonObject { ["url"] = "about:blank" })!["targetId"]!;
        _session = (string)Call("Target.attachToTarget", new JsonObject { ["targetId"] = target, ["flatten"] = true })!["sessionId"]!;
        foreach (string domain in (string[])["Page", "Runtime", "Log", "Network"])
        {
            Call($"{domain}.enable");
        }
    }

    /// <summary>What the console of the page has been told as an error, and exceptions that nobody caught.</summary>
    public ConcurrentQueue<string> Errors { get; } = new();

    /// <summary>Every address that was asked for.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>Goes to a page, and waits until it is loaded.</summary>
    public void Open(Uri address)
    {
        while (_loaded.Wait(0))
        {
        }
        Call("Page.navigate", new JsonObject { ["url"] = address.ToString() });
        if (!_loaded.Wait(s_limit))
        {
            throw new TimeoutException($"{address} was not loaded");
        }
    }

    /// <summary>The size of the window, and the colours that the user likes.</summary>
    public void Look(int width, int height, bool isDark)
    {
        Call("Emulation.setDeviceMetricsOverride", new JsonObject { ["width"] = width, ["height"] = height, ["deviceScaleFactor"] = 1, ["mobile"] = width < 600 });
        Call("Emulation.setEmulatedMedia", new JsonObject { ["features"] = new JsonArray(new JsonObject { ["name"] = "prefers-color-scheme", ["value"] = isDark ? "dark" : "light" }) });
    }

    /// <summary>Evaluates JavaScript in the page, and waits for a promise.</summary>
    public JsonNode? Evaluate(string script)
    {
        JsonNode answer = Call("Runtime.evaluate", new JsonObject { ["expression"] = script, ["awaitPromise"] = true, ["returnByValue"] = true })!;
        return answer["exceptionDetails"] is { } failure ? throw new InvalidOperationException(failure.ToJsonString()) : answer["result"]!["value"];
    }

    /// <summary>Types text where the focus is.</summary>
    public void Type(string text) => Call("Input.insertText", new JsonObject { ["text"] = text });

    /// <summary>Presses the tabulator key.</summary>
    public void PressTab()
    {
        foreach (string type in (string[])["rawKeyDown", "keyUp"])
        {
            Call("Input.dispatchKeyEvent", new JsonObject { ["type"] = type, ["key"] = "Tab", ["code"] = "Tab", ["windowsVirtualKeyCode"] = 9 });
        }
    }

    /// <summary>A picture of the window as PNG.</summary>
    public byte[] Picture() => Convert.FromBase64String((string)Call("Page.captureScreenshot", new JsonObject { ["format"] = "png" })!["data"]!);

    public void Dispose()
    {
        _socket.Dispose();
        _chromium.Dispose();
        _profile.Dispose();
    }

    private JsonNode? Call(string method, JsonObject? parameters = null)
    {
        int call = Interlocked.Increment(ref _lastCall);
        var answer = _calls[call] = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var message = new JsonObject { ["id"] = call, ["method"] = method, ["params"] = parameters ?? [] };
        if (_session is not null)
        {
            message["sessionId"] = _session;
        }
        _socket.SendAsync(Encoding.UTF8.GetBytes(message.ToJsonString()), WebSocketMessageType.Text, true, CancellationToken.None).Wait(s_limit);
        return answer.Task.WaitAsync(s_limit).GetAwaiter().GetResult();
    }

    private async Task ListenAsync()
    {
        byte[] buffer = new byte[1 << 16];
        try
        {
            while (true)
            {
                using var message = new MemoryStream();
                ValueWebSocketReceiveResult part;
                do
                {
                    part = await _socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None);
                    message.Write(buffer, 0, part.Count);
                }
                while (!part.EndOfMessage);
                Take(JsonNode.Parse(message.ToArray())!);
            }
        }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException or OperationCanceledException)
        {
            // The browser ends.
        }
    }

    private void Take(JsonNode message)
    {
        if (message["id"] is { } id && _calls.TryRemove((int)id, out TaskCompletionSource<JsonNode?>? call))
        {
            if (message["error"] is { } error)
            {
                call.SetException(new InvalidOperationException(error.ToJsonString()));
            }
            else
            {
                call.SetResult(message["result"]);
            }
            return;
        }
        JsonNode? given = message["params"];
        switch ((string?)message["method"])
        {
            case "Page.loadEventFired":
                _loaded.Release();
                break;
            case "Runtime.exceptionThrown":
                Errors.Enqueue(given!["exceptionDetails"]!.ToJsonString());
                break;
            case "Runtime.consoleAPICalled" when (string?)given!["type"] is "error" or "warning" or "assert":
                Errors.Enqueue(given["args"]!.ToJsonString());
                break;
            case "Log.entryAdded" when (string?)given!["entry"]!["level"] is "error" or "warning":
                Errors.Enqueue(given["entry"]!.ToJsonString());
                break;
            case "Network.requestWillBeSent":
                Requests.Enqueue((string)given!["request"]!["url"]!);
                break;
        }
    }
}
