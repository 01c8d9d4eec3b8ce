using System.Net;
using System.Net.Sockets;

namespace LazyMount.TestKit;

/// <summary>
/// A TCP proxy on the loopback interface that lets a number of bytes through from the server and then holds everything
/// back, the connections open: what a dying network looks like, at a moment that a test chooses.
/// </summary>
public sealed class StallingProxy : IDisposable
{
    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _stalled = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int _serverPort;
    private readonly long _bytesUntilStall;
    private long _left;

    /// <param name="serverPort">Where the server listens on the loopback interface.</param>
    /// <param name="bytesUntilStall">Bytes from the server that pass.</param>
    /// <param name="port">Where the proxy listens; 0 for any port that is free.</param>
    public StallingProxy(int serverPort, long bytesUntilStall, int port = 0)
    {
        _listener = new TcpListener(IPAddress.Loopback, port);
        (_serverPort, _bytesUntilStall, _left) = (serverPort, bytesUntilStall, bytesUntilStall);
        _listener.Start();
        _ = AcceptAsync();
    }

    /// <summary>Where the proxy listens.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{Port}";

    /// <summary>Completes when the bytes are used up.</summary>
    public Task Stalled => _stalled.Task;

    /// <summary>Bytes that came from the server so far.</summary>
    public long Passed => _bytesUntilStall - Interlocked.Read(ref _left);

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        CancellationToken stop = _stop.Token;
        try
        {
            while (true)
            {
                TcpClient client = await _listener.AcceptTcpClientAsync(stop);
                _ = ServeAsync(client, stop);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(TcpClient client, CancellationToken stop)
    {
        using (client)
        using (var server = new TcpClient())
        {
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, _serverPort, stop);
                Task requests = client.GetStream().CopyToAsync(server.GetStream(), stop);
                byte[] buffer = new byte[16 << 10];
                int read;
                while ((read = await server.GetStream().ReadAsync(buffer, stop)) > 0)
                {
                    if (Interlocked.Add(ref _left, -read) < 0)
                    {
                        _stalled.TrySetResult();
                        await Task.Delay(Timeout.Infinite, stop);
                    }
                    await client.GetStream().WriteAsync(buffer.AsMemory(0, read), stop);
                }
                await requests;
            }
            catch (Exception e) when (e is OperationCanceledException or IOException or SocketException)
            {
                // One side has gone, which closes the other.
            }
        }
    }
}
