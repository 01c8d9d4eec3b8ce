using System.Net;
using System.Net.Sockets;

namespace LazyMount.TestKit;

/// <summary>A real registry (Debian's docker-registry) on a free port of the loopback interface, with storage of its own.</summary>
public sealed class RegistryServer : IDisposable
{
    public const string User = "alice", Password = "wonderland";

    // bcrypt of Password, made with perl's crypt
    private const string HtpasswdLine = User + ":$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW\n";

    private readonly TemporaryDirectory _directory = new();
    private readonly string _configuration;
    private Tool? _server;

    /// <param name="requireLogin">Ask for <see cref="User"/> and <see cref="Password"/> (Basic).</param>
    public RegistryServer(bool requireLogin = false)
    {
        using (var listener = new TcpListener(IPAddress.Loopback, 0))
        {
            listener.Start();
            Port = ((IPEndPoint)listener.LocalEndpoint).Port;
        }
        string auth = "";
        if (requireLogin)
        {
            File.WriteAllText(_directory["htpasswd"], HtpasswdLine);
            auth = "auth: {htpasswd: {realm: test, path: " + _directory["htpasswd"] + "}}";
        }
        _configuration = _directory["config.yml"];
        File.WriteAllText(_configuration, $$"""
            version: 0.1
            log: {level: error}
            storage:
              filesystem:
                rootdirectory: {{_directory["storage"]}}
            http:
              addr: 127.0.0.1:{{Port}}
            {{auth}}
            """);
        Start();
    }

    public int Port { get; }

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{Port}";

    public string Storage => _directory["storage"];

    /// <summary>The file in the registry's storage that holds a blob: for tests that damage it.</summary>
    public string BlobFile(string digest)
    {
        string hex = digest["sha256:".Length..];
        return Path.Combine(Storage, "docker/registry/v2/blobs/sha256", hex[..2], hex, "data");
    }

    /// <summary>Starts it, again after <see cref="Stop"/>: the same port, the same storage.</summary>
    public void Start()
    {
        _server = Tool.Start("docker-registry", ["serve", _configuration]);
        for (int attempt = 0; ; attempt++)
        {
            try
            {
                using var client = new TcpClient("127.0.0.1", Port);
                return;
            }
            catch (SocketException) when (attempt < 200 && !_server.HasExited)
            {
                Thread.Sleep(50);
            }
        }
    }

    public void Stop()
    {
        _server?.Dispose();
        _server = null;
    }

    public void Dispose()
    {
        Stop();
        _directory.Dispose();
    }
}
