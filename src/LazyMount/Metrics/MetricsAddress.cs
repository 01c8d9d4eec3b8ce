using System.Net;
using System.Net.Sockets;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Files;

namespace LazyMount.Metrics;

/// <summary>Where `mount --metrics` serves the counters of a mount: a TCP port, or a unix socket.</summary>
internal sealed class MetricsAddress
{
    private const string UnixPrefix = "unix:";

    private const string Form = "write PORT for this machine alone, ADDRESS:PORT or unix:PATH";

    // sun_path of sockaddr_un(7), without the zero at its end.
    private const int LongestPath = 107;

    private readonly string? _path; // absolute
    private readonly EndPoint _endPoint;

    private MetricsAddress(EndPoint endPoint, string? path) => (_endPoint, _path) = (endPoint, path);

    /// <summary>Reads <c>PORT</c>, <c>:PORT</c>, <c>ADDRESS:PORT</c> or <c>unix:PATH</c>.</summary>
    /// <exception cref="UsageException">It is something else.</exception>
    public static MetricsAddress Parse(string text)
    {
        if (IsPath(text, out string given))
        {
            string path = PathText.FullPath(given.Length > 0 ? given : throw new UsageException($"cannot use --metrics '{text}': it names no file; {Form}"));
            return PathText.IsText(path) && PathText.Encode(path).Length <= LongestPath
                ? new MetricsAddress(new UnixDomainSocketEndPoint(path), path)
                : throw new UsageException($"cannot use --metrics '{text}': the path of a socket has at most {LongestPath} bytes of UTF-8; choose a shorter path");
        }
        return new MetricsAddress(ListenAddress.Parse("--metrics", text, lowestPort: 1, Form), null);
    }

    /// <summary>Whether a value names a file, and which.</summary>
    public static bool IsPath(string text, out string path)
    {
        bool isPath = text.StartsWith(UnixPrefix, StringComparison.Ordinal);
        path = isPath ? text[UnixPrefix.Length..] : "";
        return isPath;
    }

    /// <summary>
    /// Whether a request that names this host may be answered: no web page can make a browser send one with an address, or with localhost, unless it
    /// was loaded from there.
    /// </summary>
    /// <param name="host">The value of the header, with a port or without.</param>
    public static bool IsTrustedHost(string host)
    {
        int colon = host.LastIndexOf(':');
        return ListenAddress.AddressOf(colon > host.LastIndexOf(']') ? host[..colon] : host) is not null;
    }

    /// <summary>Opens the socket. It must be kept alive as long as its handle is in use.</summary>
    /// <exception cref="CommandException">The address is in use, or cannot be had.</exception>
    public Socket Listen()
    {
        try
        {
            return Open();
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse && _path is not null && IsLeftBehind(_path))
        {
            File.Delete(_path);
        }
        catch (SocketException e)
        {
            throw Refused(e);
        }
        try
        {
            return Open();
        }
        catch (SocketException e)
        {
            throw Refused(e);
        }
    }

    /// <summary>Removes the file of a socket that nobody listens to any more.</summary>
    /// <param name="address">The address as text, or null.</param>
    public static void Remove(string? address)
    {
        try
        {
            if (address is not null && IsPath(address, out string path))
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next mount that names it takes its place.
        }
    }

    /// <summary>The same, of a mount whose processes were all killed: another mount may listen there by now.</summary>
    public static void RemoveIfLeftBehind(string? address)
    {
        if (address is not null && IsPath(address, out string path) && IsLeftBehind(path))
        {
            Remove(address);
        }
    }

    /// <inheritdoc/>
    public override string ToString() => _path is null ? _endPoint.ToString()! : UnixPrefix + _path;

    private Socket Open()
    {
        var socket = _path is null ? new Socket(_endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Blocking = false; // two processes wait for connections while one takes over from the other
            if (_path is not null)
            {
                _ = FileCalls.SetMode((int)socket.Handle, 0x180 /* 0600 */); // the file gets this mode when it is made
            }
            socket.Bind(_endPoint);
            socket.Listen();
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // A socket that nobody listens to.
    private static bool IsLeftBehind(string path)
    {
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return false;
        }
        catch (SocketException e)
        {
            // The kernel refuses a connection to an ordinary file in the same way.
            return e.SocketErrorCode == SocketError.ConnectionRefused && IsSocket(path);
        }
    }

    private static bool IsSocket(string path)
        => FileCalls.GetStatus(FileCalls.CurrentDirectory, PathText.ToNative(path), FileCalls.NoFollow, out FileStatus status) == 0 && status.Type == FileCalls.Socket;

    private CommandException Refused(SocketException e) => new($"cannot serve metrics at '{this}': {e.SocketErrorCode switch
    {
        SocketError.AddressAlreadyInUse when _path is not null && !IsSocket(_path) => "a file is there that is no socket; choose another path",
        SocketError.AddressAlreadyInUse => "another process listens there; choose another address",
        SocketError.AddressNotAvailable when _path is null => "this machine does not have the address; choose another one",
        SocketError.AccessDenied => "you may not listen there; choose another address",
        _ when _path is not null => "the socket cannot be made there; check that its directory exists, and that you may write to it",
        _ => $"{e.Message}; choose another address",
    }}", inner: e);
}
