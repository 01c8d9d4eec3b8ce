using System.Text.RegularExpressions;

namespace LazyMount.TestKit;

/// <summary>
/// A real forward proxy on a free port of the loopback interface: tinyproxy for HTTP (CONNECT and absolute URLs), microsocks for
/// SOCKS5. It can know hosts that nobody else on the machine knows, so that a server on loopback can be asked for by a name that
/// only works through the proxy.
/// </summary>
public sealed partial class ForwardProxy : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly ServerProcess _server;
    private readonly Regex _target;

    private ForwardProxy(string scheme, (string User, string Password)? login, IReadOnlyDictionary<string, string>? hosts, Regex target, Func<ForwardProxy, string[]> command)
    {
        (Scheme, _target) = (scheme, target);
        Port = ServerProcess.FreePort();
        Url = new Uri($"{scheme}://{(login is { } own ? $"{Uri.EscapeDataString(own.User)}:{Uri.EscapeDataString(own.Password)}@" : "")}127.0.0.1:{Port}");
        File.WriteAllLines(_directory["hosts"], ["127.0.0.1 localhost", .. (hosts ?? new Dictionary<string, string>()).Select(host => $"{host.Value} {host.Key}")]);
        // A mount namespace of its own, in which /etc/hosts is ours.
        string[] user = Environment.IsPrivilegedProcess ? [] : ["--user", "--map-root-user"];
        string[] names = hosts is null ? [] : ["unshare", "--mount", .. user, "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", _directory["hosts"]];
        string[] all = [.. names, .. command(this)];
        _server = ServerProcess.Start(Port, _directory["log"], all[0], all[1..]);
    }

    /// <summary>"http" or "socks5".</summary>
    public string Scheme { get; }

    public int Port { get; }

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{Port}";

    /// <summary>What HTTPS_PROXY or ALL_PROXY gets: scheme, login if it wants one, host and port.</summary>
    public Uri Url { get; }

    public string Log => _server.Log;

    /// <summary>Whom the proxy was asked to connect to so far: HOST:PORT, or the URL of a plain request.</summary>
    public IReadOnlyList<string> Targets => [.. _target.Matches(Log).Select(match => match.Groups[1].Value.TrimEnd('/'))];

    /// <summary>tinyproxy.</summary>
    /// <param name="login">Ask for this name and password (Basic).</param>
    /// <param name="hosts">Names that it knows, and their addresses.</param>
    public static ForwardProxy Http((string User, string Password)? login = null, IReadOnlyDictionary<string, string>? hosts = null)
        => new("http", login, hosts, HttpTarget, proxy =>
        {
            string configuration = proxy._directory["tinyproxy.conf"];
            File.WriteAllText(configuration, $"""
                Port {proxy.Port}
                Listen 127.0.0.1
                Timeout 600
                MaxClients 100
                LogLevel Connect
                {(login is { } wanted ? $"BasicAuth {wanted.User} {wanted.Password}" : "")}

                """);
            return ["tinyproxy", "-d", "-c", configuration];
        });

    /// <summary>microsocks.</summary>
    /// <param name="login">Ask for this name and password.</param>
    /// <param name="hosts">Names that it knows, and their addresses.</param>
    public static ForwardProxy Socks5((string User, string Password)? login = null, IReadOnlyDictionary<string, string>? hosts = null)
        => new("socks5", login, hosts, SocksTarget, proxy =>
            ["microsocks", "-i", "127.0.0.1", "-p", $"{proxy.Port}", .. login is { } wanted ? (string[])["-u", wanted.User, "-P", wanted.Password] : []]);

    public void Dispose()
    {
        _server.Dispose();
        _directory.Dispose();
    }

    [GeneratedRegex(@"Request \(file descriptor \d+\): [A-Z]+ (\S+) HTTP")]
    private static partial Regex HttpTarget { get; }

    [GeneratedRegex(@"connected to (\S+)")]
    private static partial Regex SocksTarget { get; }
}
