using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace LazyMount.Cli;

/// <summary>Addresses of this machine that an option names to be listened at.</summary>
internal static class ListenAddress
{
    /// <summary>Reads <c>PORT</c>, <c>:PORT</c> (both for this machine alone) or <c>ADDRESS:PORT</c>.</summary>
    /// <param name="option">The option, for the sentence.</param>
    /// <param name="text">Its value.</param>
    /// <param name="lowestPort">0 where a free port may be taken, else 1.</param>
    /// <param name="form">What to write in its place, for the sentence.</param>
    /// <exception cref="UsageException">It is something else.</exception>
    public static IPEndPoint Parse(string option, string text, int lowestPort, string form)
    {
        int colon = text.LastIndexOf(':');
        string host = colon > 0 ? text[..colon] : "localhost", port = text[(colon + 1)..];
        IPAddress address = AddressOf(host)
            ?? throw new UsageException($"cannot use {option} '{text}': '{host}' is no IP address (IPv6 stands in brackets); {form}");
        return int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= lowestPort && number <= IPEndPoint.MaxPort
            ? new IPEndPoint(address, number)
            : throw new UsageException($"cannot use {option} '{text}': '{port}' is no port from {lowestPort} to {IPEndPoint.MaxPort}; {form}");
    }

    /// <summary>The address that a host of a URL is: localhost, four numbers, or IPv6 in brackets. Null for names.</summary>
    public static IPAddress? AddressOf(string host)
        => host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? IPAddress.Loopback
            : host is ['[', .. var inner, ']'] ? IPAddress.TryParse(inner, out IPAddress? six) && six.AddressFamily == AddressFamily.InterNetworkV6 ? six : null
            : host.Count(c => c == '.') == 3 && IPAddress.TryParse(host, out IPAddress? four) && four.AddressFamily == AddressFamily.InterNetwork ? four
            : null;
}
