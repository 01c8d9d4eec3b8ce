using System.Buffers;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using LazyMount.Blobs.Counting;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Metrics;

/// <summary>
/// Answers <c>GET /metrics</c> on a listening socket: HTTP/1.1, one request a connection. The keeper of the mount holds the socket, so that the next
/// worker goes on with it: this class never shuts it down.
/// </summary>
#pragma warning disable CA1001 // It lives as long as the process.
internal sealed class MetricsServer
#pragma warning restore CA1001
{
    private const int MostConnections = 4, LongestRequest = 8 << 10;

    // For one connection, from its beginning to its end.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    private readonly SafeFileHandle _listener;
    private readonly ServingCounters _counters;
    private readonly SafeFileHandle _stop = Interop.EventFile();
    private readonly SemaphoreSlim _places = new(MostConnections);

    /// <summary>Answers from now on, on a thread of its own.</summary>
    /// <param name="listener">The socket, which does not block. Not owned.</param>
    /// <param name="counters">What to tell.</param>
    public MetricsServer(SafeFileHandle listener, ServingCounters counters)
    {
        (_listener, _counters) = (listener, counters);
        new Thread(Run) { IsBackground = true, Name = "metrics" }.Start();
    }

    /// <summary>Takes no more connections, and ends those that it has within <see cref="s_patience"/>.</summary>
    public void Stop() => Interop.Write(_stop, [1, 0, 0, 0, 0, 0, 0, 0], 8);

    private void Run()
    {
        Span<Interop.PollDescriptor> files =
        [
            new() { File = (int)_listener.DangerousGetHandle(), Events = 1 },
            new() { File = (int)_stop.DangerousGetHandle(), Events = 1 },
        ];
        while (true)
        {
            _places.Wait();
            Interop.Poll(files, 2, -1);
            if (files[1].Happened != 0)
            {
                return;
            }
            if (Interop.Accept(_listener) is >= 0 and int client)
            {
                _ = ServeAsync(new Socket(new SafeSocketHandle(client, ownsHandle: true)));
                continue;
            }
            _places.Release();
            if (files[0].Happened != 0)
            {
                Thread.Sleep(100); // no descriptors left, or another process has taken it
            }
        }
    }

    private async Task ServeAsync(Socket client)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(LongestRequest);
        using var patience = new CancellationTokenSource(s_patience);
        try
        {
            int length = 0, read, end = -1;
            while (end < 0 && length < LongestRequest && (read = await client.ReceiveAsync(buffer.AsMemory(length, LongestRequest - length), patience.Token)) > 0)
            {
                length += read;
                end = buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8);
            }
            if (end >= 0 || length == LongestRequest)
            {
                ReadOnlyMemory<byte> answer = end < 0 ? Answer(431, "the request is too long\n") : Answer(Encoding.ASCII.GetString(buffer, 0, end).Split("\r\n"));
                while (!answer.IsEmpty)
                {
                    answer = answer[await client.SendAsync(answer, patience.Token)..];
                }
                client.Shutdown(SocketShutdown.Send);
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // It went away, or took too long.
        }
        finally
        {
            client.Dispose();
            ArrayPool<byte>.Shared.Return(buffer);
            _places.Release();
        }
    }

    /// <summary>The answer to a request.</summary>
    /// <param name="lines">The request line and the headers.</param>
    internal byte[] Answer(string[] lines)
    {
        string[] words = lines[0].Split(' ');
        string[] hosts = [.. lines.Skip(1).Where(line => line.StartsWith("Host:", StringComparison.OrdinalIgnoreCase)).Select(line => line["Host:".Length..].Trim())];
        if (words is not [var method, var target, "HTTP/1.0" or "HTTP/1.1"] || hosts.Length > 1 || (hosts.Length == 0 && words[2] == "HTTP/1.1"))
        {
            return Answer(400, "this is no HTTP/1.1 request with one Host\n");
        }
        if (hosts is [var host] && !MetricsAddress.IsTrustedHost(host))
        {
            return Answer(403, "ask for an IP address or for localhost, not for another name\n");
        }
        return method is not ("GET" or "HEAD") ? Answer(405, "only GET and HEAD are answered\n", "Allow: GET, HEAD\r\n")
            : target.Split('?')[0] != "/metrics" ? Answer(404, "the metrics are at /metrics\n", isHead: method == "HEAD")
            : Answer(200, MetricsText.Of(_counters), $"Content-Type: {MetricsText.MediaType}\r\n", isHead: method == "HEAD");
    }

    private static byte[] Answer(int status, string body, string headers = "", bool isHead = false)
    {
        string name = status switch
        {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Request Header Fields Too Large",
        };
        string type = status == 200 ? "" : "Content-Type: text/plain\r\n";
        return Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"HTTP/1.1 {status} {name}\r\n{headers}{type}Content-Length: {body.Length}\r\nConnection: close\r\n\r\n{(isHead ? "" : body)}"));
    }
}
