using System.Net;
using System.Net.Sockets;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>
/// Servers of this machine: the name localhost, 127.0.0.0/8 and ::1. Nobody else can answer in their place, because such a name is
/// never given to a proxy and a connection to it must end at a loopback address.
/// </summary>
internal static class Loopback
{
    /// <summary>True for names and addresses of this machine, with or without a port.</summary>
    public static bool Is(string host) => Uri.TryCreate($"http://{host}/", UriKind.Absolute, out Uri? url) && Is(url);

    /// <summary>True when the host of the URL is a loopback address.</summary>
    public static bool Is(Uri url)
        => url.Host == "localhost" || (IPAddress.TryParse(url.Host.Trim('[', ']'), out IPAddress? address) && Is(address));

    private static bool Is(IPAddress address) => IPAddress.IsLoopback(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address);

    /// <summary>Connects to a host; refuses a loopback name that does not lead to this machine.</summary>
    /// <exception cref="SocketException">It cannot be reached.</exception>
    public static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, AddressRace race, CancellationToken cancellationToken)
    {
        Socket socket = await race.ConnectAsync(context.DnsEndPoint.Host, context.DnsEndPoint.Port, cancellationToken).ConfigureAwait(false);
        if (!Is(context.InitialRequestMessage.RequestUri!) || (socket.RemoteEndPoint is IPEndPoint end && Is(end.Address)))
            return new NetworkStream(socket, ownsSocket: true);
        socket.Dispose();
        throw new SocketException((int)SocketError.HostUnreachable, $"{context.DnsEndPoint.Host} is not an address of this machine");
    }
}
