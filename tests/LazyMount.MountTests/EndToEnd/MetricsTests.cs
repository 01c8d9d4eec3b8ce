using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.Versioning;
using System.Text.Json;
using LazyMount.TestKit;
using Xunit;
using static LazyMount.MountTests.EndToEnd.Waiting;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What a mount counts, as `--metrics` and `list` tell it. The oracles: the kernel, nginx before the registry, and Prometheus' own parser.</summary>
[SupportedOSPlatform("linux")]
public sealed class MetricsTests(SharedRegistry registry) : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly byte[] _content = new byte[3_000_000];

    public void Dispose() => _lazymount.Dispose();

    private string Layout(out OciLayoutBuilder layout)
    {
        new Random(7).NextBytes(_content);
        layout = new OciLayoutBuilder(_lazymount.Directory["layout"]).AddLayer(new TarBytes().Directory("./").File("secret-name", _content));
        layout.WriteImage("v1");
        return layout.Reference("v1");
    }

    private string Socket => _lazymount.Directory["s"];

    [Theory]
    [InlineData("fuse")]
    [InlineData("erofs")]
    public async Task Counters_AgreeWithTheKernelAndTheServer_AndOutliveWorkers(string face)
    {
        Assert.SkipUnless(face == "fuse" || Environment.IsPrivilegedProcess, "needs root");
        string[] pushed = registry.Push(Layout(out _)).Split('/', 2);
        using var nginx = new NginxServer(new NginxSettings { Upstream = pushed[0] });
        string directory = _lazymount.Mount($"{nginx.Host}/{pushed[1]}", "--as", face, "--metrics", $"unix:{Socket}");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Socket));
        Dictionary<string, double> before = await ReadAsync();
        Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "secret-name")));

        Dictionary<string, double> after = await ReadAsync();
        double served = after["lazymount_served_bytes_total"] - before["lazymount_served_bytes_total"];
        if (face == "fuse")
            Assert.Equal(_content.Length, served);
        else
            Assert.InRange(served, _content.Length, _content.Length + (64 << 10)); // and blocks of metadata
        Assert.InRange(after["lazymount_decoded_bytes_total"], _content.Length, _content.Length + (64 << 10));
        Assert.Equal(nginx.Requests.Sum(request => request.Method == "GET" ? request.BodyBytes : 0), after["lazymount_fetched_bytes_total"]);
        Assert.True(after["lazymount_requests_total{kind=\"read\"}"] >= 3);
        Assert.True(after["lazymount_spans_total{result=\"miss\"}"] >= 1);
        Assert.True(after["lazymount_chunks_total{result=\"hit\"}"] + after["lazymount_chunks_total{result=\"miss\"}"] >= 3_000_000 / (64 << 10));
        Assert.Equal(after["lazymount_read_wait_seconds_bucket{le=\"+Inf\"}"], after["lazymount_read_wait_seconds_count"]);
        Assert.True(after["lazymount_read_wait_seconds_count"] >= 1);
        Assert.Equal(0, after["lazymount_failed_requests_total"]);

        Tool.Run("kill", "-9", Assert.Single(LazyMountCli.WorkersOf(directory)).ToString(CultureInfo.InvariantCulture)).EnsureSuccess();
        Dictionary<string, double> killed = await ReadAsync();
        Assert.Equal(1, killed["lazymount_restarts_total{kind=\"death\"}"]);
        AssertNothingIsLess(after, killed);
        _lazymount.Run("restart", directory).EnsureSuccess();
        Dictionary<string, double> restarted = await ReadAsync();
        Assert.Equal((1, 1), (restarted["lazymount_restarts_total{kind=\"death\"}"], restarted["lazymount_restarts_total{kind=\"restart\"}"]));
        AssertNothingIsLess(killed, restarted);

        JsonElement listed = _lazymount.Listed(directory);
        Assert.Equal(restarted["lazymount_fetched_bytes_total"], listed.GetProperty("fetchedBytes").GetInt64());
        Assert.Equal(1, listed.GetProperty("cachedShare").GetDouble());
        Assert.Equal($"unix:{Socket}", listed.GetProperty("metrics").GetString());
        _lazymount.Run("umount", directory).EnsureSuccess();
        Assert.False(File.Exists(Socket));
        Assert.DoesNotContain(Directory.EnumerateFiles(_lazymount.StateDirectory), file => file.EndsWith(".status", StringComparison.Ordinal));

        static void AssertNothingIsLess(Dictionary<string, double> earlier, Dictionary<string, double> later)
            => Assert.All(earlier, sample => Assert.True(later[sample.Key] >= sample.Value, sample.Key));
    }

    [Fact]
    public async Task Text_IsWhatPrometheusReads_AndNamesNoPath()
    {
        string directory = _lazymount.Mount(Layout(out _), "--as", "fuse", "--metrics", $"unix:{Socket}");
        File.ReadAllBytes(Path.Combine(directory, "secret-name"));
        string text = await GetAsync(new Uri("http://localhost/metrics"));
        Assert.DoesNotContain("secret-name", text, StringComparison.Ordinal);
        string file = _lazymount.Directory["metrics.txt"];
        File.WriteAllText(file, text);
        string samples = Tool.Run("/usr/bin/python3", "-c", """
            import sys
            from prometheus_client.parser import text_string_to_metric_families
            for family in text_string_to_metric_families(open(sys.argv[1]).read()):
                for sample in family.samples:
                    print(family.type, sample.name, sample.value)
            """, file).EnsureSuccess().Output;
        Assert.Equal(text.Split('\n').Count(line => line.Length > 0 && line[0] != '#'), samples.Trim().Split('\n').Length);
        Assert.Contains("counter lazymount_served_bytes_total 3000000.0\n", samples, StringComparison.Ordinal);
        Assert.Contains("histogram lazymount_read_wait_seconds_sum ", samples, StringComparison.Ordinal);
        Assert.DoesNotContain("unknown ", samples, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GET", "http://localhost/metrics", "localhost:9100", HttpStatusCode.OK)]
    [InlineData("HEAD", "http://localhost/metrics?x=y", "[::1]", HttpStatusCode.OK)]
    [InlineData("GET", "http://localhost/metrics", "192.0.2.1:9100", HttpStatusCode.OK)]
    [InlineData("GET", "http://localhost/metrics", "evil.example", HttpStatusCode.Forbidden)]
    [InlineData("GET", "http://localhost/metrics", "localhost.evil.example:9100", HttpStatusCode.Forbidden)]
    [InlineData("GET", "http://localhost/metrics", "127.0.0.1.evil.example", HttpStatusCode.Forbidden)]
    [InlineData("POST", "http://localhost/metrics", "localhost", HttpStatusCode.MethodNotAllowed)]
    [InlineData("GET", "http://localhost/", "localhost", HttpStatusCode.NotFound)]
    public async Task OnlyMetrics_AreServed_AndNoForeignHost(string method, string url, string host, HttpStatusCode expected)
    {
        _lazymount.Mount(Layout(out _), "--as", "fuse", "--metrics", $"unix:{Socket}");
        using HttpClient client = Client();
        using var request = new HttpRequestMessage(new HttpMethod(method), url);
        request.Headers.Host = host;
        using HttpResponseMessage response = await client.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(expected, response.StatusCode);
        string body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.Equal(expected == HttpStatusCode.OK && method == "GET", body.Contains("lazymount_requests_total{", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Requests_ThatAreTooLongOrNone_EndAndOthersAreAnswered()
    {
        _lazymount.Mount(Layout(out _), "--as", "fuse", "--metrics", $"unix:{Socket}");
        using Socket silent = Connect(), tooLong = Connect(), gone = Connect();
        gone.Dispose();
        tooLong.Send(new byte[8 << 10]);
        byte[] answer = new byte[16];
        int length = tooLong.Receive(answer);
        Assert.StartsWith("HTTP/1.1 431", System.Text.Encoding.ASCII.GetString(answer, 0, length), StringComparison.Ordinal);
        Assert.Contains("lazymount_requests_total", await GetAsync(new Uri("http://localhost/metrics")), StringComparison.Ordinal);
        silent.ReceiveTimeout = 60_000;
        Assert.Equal(0, silent.Receive(answer)); // its time is over

        Socket Connect()
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(Socket));
            return socket;
        }
    }

    [Fact]
    public async Task AddressInUse_IsASentence_AndNothingIsMounted()
    {
        string image = Layout(out _);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        Refused($"127.0.0.1:{port}", $"lazymount: cannot serve metrics at '127.0.0.1:{port}': another process listens there; choose another address\n");
        listener.Stop();
        string directory = _lazymount.Mount(image, "--as", "fuse", "--metrics", port.ToString(CultureInfo.InvariantCulture));
        using var client = new HttpClient();
        Assert.Contains("lazymount_", await client.GetStringAsync(new Uri($"http://127.0.0.1:{port}/metrics"), TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Refused($":{port}", $"lazymount: cannot serve metrics at '127.0.0.1:{port}': another process listens there; choose another address\n");

        string other = _lazymount.Mount(image, "--as", "fuse", "--metrics", $"unix:{Socket}");
        Refused($"unix:{Socket}", $"lazymount: cannot serve metrics at 'unix:{Socket}': another process listens there; choose another address\n");
        LazyMountCli.KillAllOf(other);
        Assert.True(File.Exists(Socket));
        string next = _lazymount.Mount(image, "--as", "fuse", "--metrics", $"unix:{Socket}"); // in the place of a dead one
        await ReadAsync();
        _lazymount.Run("umount", other).EnsureSuccess();
        await ReadAsync(); // what is left of a dead mount is removed, not the socket of another
        LazyMountCli.KillAllOf(next);
        _lazymount.Run("umount", next).EnsureSuccess();
        Assert.False(File.Exists(Socket));
        string file = _lazymount.Directory["file"];
        File.WriteAllText(file, "mine");
        Refused($"unix:{file}", $"lazymount: cannot serve metrics at 'unix:{file}': a file is there that is no socket; choose another path\n");
        Assert.Equal("mine", File.ReadAllText(file));
        Tool.Run("mkfifo", _lazymount.Directory["pipe"]).EnsureSuccess();
        Refused($"unix:{_lazymount.Directory["pipe"]}", $"lazymount: cannot serve metrics at 'unix:{_lazymount.Directory["pipe"]}': a file is there that is no socket; choose another path\n");
        Assert.True(LazyMountCli.IsMounted(directory));

        void Refused(string address, string sentence)
        {
            string free = _lazymount.NewMountPoint();
            ToolResult refused = _lazymount.Run("mount", "--as", "fuse", "--metrics", address, image, free);
            Assert.Equal((1, sentence), (refused.ExitCode, refused.Error));
            Assert.False(LazyMountCli.IsMounted(free));
        }
    }

    [Fact]
    public async Task InFrontAndFromFstab_ItIsServedToo()
    {
        string image = Layout(out _), directory = _lazymount.NewMountPoint();
        using (Tool front = _lazymount.Start("mount", "-f", "--as", "fuse", "--metrics", $"unix:{Socket}", image, directory))
        {
            WaitUntil(() => LazyMountCli.IsMounted(directory) && LazyMountCli.WorkersOf(directory).Length == 1);
            await ReadAsync();
            _lazymount.Run("umount", directory).EnsureSuccess();
            Assert.Equal(0, front.WaitForExit().ExitCode);
        }
        Assert.False(File.Exists(Socket));
        ToolResult relative = _lazymount.Run("mount.lazymount", image, directory, "-o", "metrics=unix:here");
        Assert.Contains("cannot use the mount option 'metrics=unix:here': the path is relative", relative.Error, StringComparison.Ordinal);
        _lazymount.Run("mount.lazymount", image, directory, "-o", $"as=fuse,metrics=unix:{Socket}").EnsureSuccess();
        await ReadAsync();
    }

    [Fact]
    public void List_TellsTheProcessesTheBytesAndTheLastFailure()
    {
        string image = Layout(out OciLayoutBuilder layout);
        string directory = _lazymount.Mount(image, "--as", "fuse");
        Assert.False(_lazymount.Listed(directory).TryGetProperty("lastError", out _));
        string blob = Directory.EnumerateFiles(Path.Combine(layout.Directory, "blobs", "sha256")).MaxBy(file => new FileInfo(file).Length)!;
        byte[] sound = File.ReadAllBytes(blob);
        File.WriteAllBytes(blob, new byte[sound.Length]);
        Assert.ThrowsAny<IOException>(() => File.ReadAllBytes(Path.Combine(directory, "secret-name")));
        File.WriteAllBytes(blob, sound);
        Assert.Equal(_content, File.ReadAllBytes(Path.Combine(directory, "secret-name")));

        JsonElement listed = default;
        WaitUntil(() => (listed = _lazymount.Listed(directory)).TryGetProperty("servedBytes", out JsonElement served) && served.GetInt64() == _content.Length);
        JsonElement error = listed.GetProperty("lastError");
        Assert.Equal("/secret-name", error.GetProperty("path").GetString());
        Assert.InRange(error.GetProperty("time").GetDateTime(), DateTime.UtcNow.AddMinutes(-5), DateTime.UtcNow);
        Assert.Contains("do not match their SHA-256", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(0, listed.GetProperty("fetchedBytes").GetInt64());

        string text = _lazymount.Run("list", "-v").EnsureSuccess().Output;
        text = text[text.IndexOf($"{directory}\n", StringComparison.Ordinal)..].Split("\n\n")[0];
        Dictionary<string, string> values = text.Split('\n').Skip(1).Where(line => line.Length > 14).ToDictionary(line => line[2..14].Trim(), line => line[14..]);
        Assert.Equal(Assert.Single(LazyMountCli.DaemonsOf(directory)).ToString(CultureInfo.InvariantCulture), values["keeper"]);
        Assert.Equal(Assert.Single(LazyMountCli.WorkersOf(directory)).ToString(CultureInfo.InvariantCulture), values["worker"]);
        Assert.Equal(("fuse", "3000000", "0"), (values["face"], values["served"], values["fetched"]));
        Assert.Contains(" /secret-name: ", values["last error"], StringComparison.Ordinal);
        Assert.True(File.Exists(values["log"]));

        Tool.Run("kill", "-9", values["worker"]).EnsureSuccess();
        Assert.Equal("secret-name", Path.GetFileName(Assert.Single(Directory.GetFileSystemEntries(directory))));
        Assert.Equal("/secret-name", _lazymount.Listed(directory).GetProperty("lastError").GetProperty("path").GetString());
    }

    /// <summary>Nothing is written, and no timer runs, while nobody uses the mount.</summary>
    [Fact]
    public void Status_IsWrittenOnlyAfterAChange()
    {
        string directory = _lazymount.Mount(Layout(out _), "--as", "fuse");
        File.ReadAllBytes(Path.Combine(directory, "secret-name"));
        WaitUntil(() => _lazymount.Listed(directory).GetProperty("servedBytes").GetInt64() == _content.Length);
        string status = Assert.Single(Directory.EnumerateFiles(_lazymount.StateDirectory, "*.status"));
        File.Delete(status);
        Thread.Sleep(3000);
        Assert.False(File.Exists(status));
        Tool.Run("sysctl", "-qw", "vm.drop_caches=3");
        File.ReadAllBytes(Path.Combine(directory, "secret-name"));
        WaitUntil(() => File.Exists(status));
    }

    private async Task<Dictionary<string, double>> ReadAsync()
        => (await GetAsync(new Uri("http://localhost/metrics"))).Split('\n').Where(line => line.Length > 0 && line[0] != '#')
            .ToDictionary(line => line[..line.LastIndexOf(' ')], line => double.Parse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture));

    private async Task<string> GetAsync(Uri url)
    {
        using HttpClient client = Client();
        return await client.GetStringAsync(url, TestContext.Current.CancellationToken);
    }

    private HttpClient Client() => new(new SocketsHttpHandler
    {
        ConnectCallback = async (_, cancellationToken) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        },
    });
}
