using System.Net;
using System.Net.Sockets;
using System.Text;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Serving;

/// <summary>A running `lazymount serve`. Disposing kills it.</summary>
internal sealed class Served : IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    private readonly Tool _tool;
    private readonly string _log;

    public Served(LazyMountCli lazymount, params string[] arguments)
    {
        _log = Path.Combine(lazymount.Directory.CreateDirectory($"serve{Guid.NewGuid():N}"), "log");
        _tool = Tool.Start("bash", ["-c", "exec \"$@\" >\"$0\" 2>\"$0.err\"", _log, LazyMountCli.Binary, "serve", .. arguments], lazymount.Environment);
        for (DateTime limit = DateTime.UtcNow + s_limit; !File.Exists(_log) || !File.ReadAllText(_log).EndsWith('\n'); Thread.Sleep(20))
        {
            if (_tool.HasExited || DateTime.UtcNow > limit)
            {
                throw new InvalidOperationException($"lazymount serve did not start: {Messages}");
            }
        }
        Url = new Uri(File.ReadAllText(_log).Trim());
        Client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false }) { BaseAddress = new Uri($"http://127.0.0.1:{Url.Port}/") };
    }

    /// <summary>As it is printed.</summary>
    public Uri Url { get; }

    public string Token => Url.Query["?token=".Length..];

    public HttpClient Client { get; }

    public int ProcessId => _tool.ProcessId;

    /// <summary>What it has written to standard error.</summary>
    public string Messages => File.Exists(_log + ".err") ? File.ReadAllText(_log + ".err") : "";

    /// <summary>Memory of its own in KiB: what nobody else has.</summary>
    public long PrivateMemory => File.ReadLines($"/proc/{ProcessId}/smaps_rollup").Where(line => line.StartsWith("Private_Dirty:", StringComparison.Ordinal)).Sum(line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]));

    public ToolResult Stop()
    {
        _tool.Signal(2);
        return _tool.WaitForExit();
    }

    public HttpResponseMessage Send(string method, string path, params (string Name, string Value)[] headers)
    {
        // As it stands: HttpClient would change escapes.
        using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(Client.BaseAddress!.GetLeftPart(UriPartial.Authority) + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        foreach ((string name, string value) in headers)
        {
            if (name == "Host")
            {
                request.Headers.Host = value;
            }
            else
            {
                request.Headers.TryAddWithoutValidation(name, value);
            }
        }
        return Client.Send(request, TestLimit());
    }

    public byte[] Get(string path, params (string Name, string Value)[] headers)
    {
        using HttpResponseMessage response = Send("GET", path, headers);
        response.EnsureSuccessStatusCode();
        return response.Content.ReadAsByteArrayAsync(TestLimit()).GetAwaiter().GetResult();
    }

    public string Text(string path, params (string Name, string Value)[] headers) => Encoding.UTF8.GetString(Get(path, headers));

    /// <summary>The body of an answer as text.</summary>
    public static string TextOf(HttpResponseMessage response) => response.Content.ReadAsStringAsync(TestLimit()).GetAwaiter().GetResult();

    /// <summary>Sends bytes over a connection of its own and returns everything that comes until it is closed.</summary>
    public string Raw(string request)
    {
        using TcpClient client = Connect(request);
        using var answer = new MemoryStream();
        try
        {
            client.GetStream().CopyTo(answer);
        }
        catch (IOException)
        {
            // A broken connection ends an answer too.
        }
        return Encoding.Latin1.GetString(answer.ToArray());
    }

    /// <summary>Sends bytes over a connection of its own.</summary>
    public TcpClient Connect(string request)
    {
        var client = new TcpClient { ReceiveBufferSize = 4096 };
        client.Connect(IPAddress.Loopback, Url.Port);
        client.GetStream().Write(Encoding.Latin1.GetBytes(request));
        return client;
    }

    public void Dispose()
    {
        Client.Dispose();
        _tool.Dispose();
    }

    private static CancellationToken TestLimit() => new CancellationTokenSource(s_limit).Token;
}
