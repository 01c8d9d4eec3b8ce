using System.Net;
using System.Net.Sockets;

namespace LazyMount.TestKit;

/// <summary>
/// A server program that runs in the background and listens on the loopback interface. Its output goes to a file, so that a test
/// can show it. Disposing kills it.
/// </summary>
internal sealed class ServerProcess : IDisposable
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromSeconds(20);

    private readonly Tool _tool;
    private readonly string _log;

    private ServerProcess(Tool tool, string log) => (_tool, _log) = (tool, log);

    /// <summary>What it has written so far.</summary>
    public string Log => File.Exists(_log) ? File.ReadAllText(_log) : "";

    /// <summary>A port of the loopback interface that nobody listens at.</summary>
    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Starts a program and waits until it accepts connections.</summary>
    /// <param name="port">Where it will listen.</param>
    /// <param name="log">The file that its output is appended to.</param>
    /// <param name="program">The program, searched in PATH, /usr/sbin included.</param>
    /// <param name="arguments">Its arguments.</param>
    public static ServerProcess Start(int port, string log, string program, params string[] arguments)
    {
        Tool tool = Tool.Start("bash", ["-c", "PATH=$PATH:/usr/sbin; exec \"$@\" >>\"$0\" 2>&1", log, program, .. arguments]);
        var server = new ServerProcess(tool, log);
        DateTime limit = DateTime.UtcNow + s_startLimit;
        while (true)
        {
            try
            {
                using var client = new TcpClient("127.0.0.1", port);
                return server;
            }
            catch (SocketException e)
            {
                if (tool.HasExited || DateTime.UtcNow > limit)
                {
                    string output = server.Log;
                    tool.Dispose();
                    throw new InvalidOperationException($"{program} does not listen at port {port}:\n{output}", e);
                }
                Thread.Sleep(20);
            }
        }
    }

    public void Dispose() => _tool.Dispose();
}
