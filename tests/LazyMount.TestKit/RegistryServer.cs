using System.Text;

namespace LazyMount.TestKit;

/// <summary>How a <see cref="RegistryServer"/> is set up.</summary>
public sealed record RegistrySettings
{
    /// <summary>Ask for the name and password (Basic) of one of these users; null: ask for nothing.</summary>
    public IReadOnlyDictionary<string, string>? Users { get; init; }

    /// <summary>Ask for tokens of this server (Bearer).</summary>
    public TokenServer? Tokens { get; init; }

    /// <summary>Be a pull-through mirror of the registry at this address.</summary>
    public Uri? MirrorOf { get; init; }

    /// <summary>Who the mirror is at the registry that it mirrors, which must ask for tokens: docker-registry does not answer Basic there.</summary>
    public (string User, string Password)? MirrorCredentials { get; init; }
}

/// <summary>A real registry (Debian's docker-registry) on a free port of the loopback interface, with storage of its own.</summary>
public sealed class RegistryServer : IDisposable
{
    public const string User = "alice", Password = "wonderland";

    private readonly TemporaryDirectory _directory = new();
    private readonly Dictionary<string, string> _users;
    private ServerProcess? _server;

    /// <param name="requireLogin">Ask for <see cref="User"/> and <see cref="Password"/> (Basic).</param>
    public RegistryServer(bool requireLogin = false)
        : this(new RegistrySettings { Users = requireLogin ? new Dictionary<string, string> { [User] = Password } : null })
    {
    }

    public RegistryServer(RegistrySettings settings)
    {
        Port = ServerProcess.FreePort();
        _users = new Dictionary<string, string>(settings.Users ?? new Dictionary<string, string>());
        WriteHtpasswd();
        var configuration = new StringBuilder($$"""
            version: 0.1
            log: { level: info }
            storage: { filesystem: { rootdirectory: {{Storage}} } }
            http: { addr: "127.0.0.1:{{Port}}" }

            """);
        if (settings.Users is not null)
        {
            configuration.AppendLine($$"""auth: {htpasswd: {realm: test, path: {{_directory["htpasswd"]}} } }""");
        }
        if (settings.Tokens is { } tokens)
        {
            configuration.AppendLine($$"""auth: {token: {realm: "{{tokens.Realm}}", service: {{TokenServer.Service}}, issuer: {{TokenServer.Issuer}}, rootcertbundle: {{tokens.CertificateBundle}} } }""");
        }
        if (settings.MirrorOf is { } remote)
        {
            string login = settings.MirrorCredentials is { } credentials ? $", username: \"{credentials.User}\", password: \"{credentials.Password}\"" : "";
            configuration.AppendLine($$"""proxy: {remoteurl: "{{remote}}"{{login}} }""");
        }
        File.WriteAllText(_directory["config.yml"], configuration.ToString());
        Start();
    }

    public int Port { get; }

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{Port}";

    public string Storage => _directory["storage"];

    /// <summary>What it has logged, requests included.</summary>
    public string Log => File.ReadAllText(_directory["log"]);

    /// <summary>The file in the registry's storage that holds a blob: for tests that damage it.</summary>
    public string BlobFile(string digest)
    {
        string hex = digest["sha256:".Length..];
        return Path.Combine(Storage, "docker/registry/v2/blobs/sha256", hex[..2], hex, "data");
    }

    /// <summary>Adds a user or changes the password, and starts the registry again, so that it holds at once.</summary>
    public void SetPassword(string user, string password)
    {
        _users[user] = password;
        WriteHtpasswd();
        Restart();
    }

    /// <summary>Starts it, again after <see cref="Stop"/>: the same port, the same storage.</summary>
    public void Start() => _server = ServerProcess.Start(Port, _directory["log"], "docker-registry", "serve", _directory["config.yml"]);

    public void Stop()
    {
        _server?.Dispose();
        _server = null;
    }

    public void Restart()
    {
        Stop();
        Start();
    }

    public void Dispose()
    {
        Stop();
        _directory.Dispose();
    }

    // bcrypt, which is all that docker-registry reads; the C library knows it.
    private void WriteHtpasswd()
        => File.WriteAllLines(_directory["htpasswd"], _users.Select(user => $"{user.Key}:{Tool.Run("perl", "-e", "print crypt($ARGV[0], q($2b$05$abcdefghijklmnopqrstuu))", user.Value).EnsureSuccess().Output}"));
}
