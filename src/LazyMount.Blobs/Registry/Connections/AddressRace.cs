using System.Net;
using System.Net.Sockets;

namespace LazyMount.Blobs.Registry.Connections;

/// <summary>
/// Connects to the first address of a host that answers ("Happy Eyeballs", RFC 8305): IPv6 and IPv4 in turns, the next one after a quarter
/// of a second or when the one before has failed. A family whose packets are lost costs that quarter.
/// </summary>
/// <param name="resolve">Gives the addresses of a host, the preferred ones first.</param>
internal sealed class AddressRace(Func<string, CancellationToken, Task<IPAddress[]>> resolve)
{
    /// <summary>"Connection Attempt Delay" of RFC 8305, section 5.</summary>
    private static readonly TimeSpan s_headStart = TimeSpan.FromMilliseconds(250);

    /// <summary>By the resolver of the system.</summary>
    public static AddressRace OfSystem { get; } = new(Dns.GetHostAddressesAsync);

    /// <summary>Connects, or throws the first failure when no address answers.</summary>
    /// <exception cref="SocketException">There is no such host, or none of its addresses can be connected to.</exception>
    public async Task<Socket> ConnectAsync(string host, int port, CancellationToken cancellationToken)
    {
        // The system's resolver may not heed the token.
        IPAddress[] addresses = IPAddress.TryParse(host.Trim('[', ']'), out IPAddress? literal) ? [literal] : await resolve(host, cancellationToken).WaitAsync(cancellationToken).ConfigureAwait(false);
        if (addresses.Length == 0)
            throw new SocketException((int)SocketError.HostNotFound);
        IReadOnlyList<Task<Socket>> ended = await StaggeredRace.RunAsync(
            InTurns(addresses).Select(address => (Func<CancellationToken, Task<Socket>>)(token => ConnectAsync(address, port, token))),
            s_headStart,
            static _ => true,
            static late => late.Dispose(),
            cancellationToken).ConfigureAwait(false);
        return await (ended[^1].IsCompletedSuccessfully ? ended[^1] : ended[0]).ConfigureAwait(false); // the first failure
    }

    private static async Task<Socket> ConnectAsync(IPAddress address, int port, CancellationToken cancellationToken)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(new IPEndPoint(address, port), cancellationToken).ConfigureAwait(false);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // The resolver's first choice first, then the families in turns (RFC 8305, section 4).
    private static IEnumerable<IPAddress> InTurns(IPAddress[] addresses)
    {
        var families = new[] { addresses.Where(each => each.AddressFamily == addresses[0].AddressFamily), addresses.Where(each => each.AddressFamily != addresses[0].AddressFamily) };
        IPAddress[] one = [.. families[0]], other = [.. families[1]];
        for (int i = 0; i < Math.Max(one.Length, other.Length); i++)
        {
            if (i < one.Length)
                yield return one[i];
            if (i < other.Length)
                yield return other[i];
        }
    }
}
