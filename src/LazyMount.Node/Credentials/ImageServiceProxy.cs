using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using LazyMount.Blobs.Images;
using LazyMount.Node.Protos;
using LazyMount.Node.Snapshots;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Credentials;

/// <summary>
/// The CRI image service as the kubelet calls it, passed on to the runtime: what is sent and what is answered goes through as it is, whatever the call.
/// Of a pull, the credentials are remembered.
/// </summary>
internal sealed class ImageServiceProxy : IDisposable
{
    /// <summary>The path of every call begins so; {1} is the version.</summary>
    public const string Route = "/runtime.{version}.ImageService/{method}";

    private const string Pull = "/PullImage";

    private const int FrameHeader = 5, MostPullBytes = 1 << 20;

    // What belongs to one connection, and what the client adds by itself.
    private static readonly string[] s_ownHeaders = ["host", "content-length", "transfer-encoding", "connection", "te", "date", "server"];

    private readonly HttpMessageInvoker _runtime;
    private readonly PullCredentials _credentials;
    private readonly ILogger _logger;

    public ImageServiceProxy(string socket, PullCredentials credentials, ILogger logger)
    {
        (_credentials, _logger) = (credentials, logger);
        _runtime = new HttpMessageInvoker(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            EnableMultipleHttp2Connections = true,
            ActivityHeadersPropagator = null,
            ConnectCallback = async (_, cancellationToken) =>
            {
                var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancellationToken);
                    return new NetworkStream(connection, ownsSocket: true);
                }
                catch
                {
                    connection.Dispose();
                    throw;
                }
            },
        });
    }

    /// <summary>Answers one call.</summary>
    public async Task AnswerAsync(HttpContext context)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"http://localhost{context.Request.Path.ToUriComponent()}") { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        try
        {
            request.Content = context.Request.Path.Value!.EndsWith(Pull, StringComparison.Ordinal)
                ? new ByteArrayContent(await ReadPullAsync(context.Request.Body, context.RequestAborted))
                : new StreamContent(context.Request.Body);
            foreach (var header in context.Request.Headers.Where(header => !s_ownHeaders.Contains(header.Key, StringComparer.OrdinalIgnoreCase) && !header.Key.StartsWith(':')))
            {
                if (!request.Headers.TryAddWithoutValidation(header.Key, (IEnumerable<string?>)header.Value))
                {
                    request.Content.Headers.TryAddWithoutValidation(header.Key, (IEnumerable<string?>)header.Value);
                }
            }
            request.Headers.TE.Add(new("trailers"));
            using HttpResponseMessage response = await _runtime.SendAsync(request, context.RequestAborted);
            context.Response.StatusCode = (int)response.StatusCode;
            foreach (var header in response.Headers.Concat(response.Content.Headers))
            {
                if (IsStatus(header.Key))
                {
                    context.Response.AppendTrailer(header.Key, header.Value.ToArray()); // an answer that has only trailers
                }
                else if (!s_ownHeaders.Contains(header.Key, StringComparer.OrdinalIgnoreCase))
                {
                    context.Response.Headers[header.Key] = header.Value.ToArray();
                }
            }
            await response.Content.CopyToAsync(context.Response.Body, context.RequestAborted);
            foreach (var trailer in response.TrailingHeaders)
            {
                context.Response.AppendTrailer(trailer.Key, trailer.Value.ToArray());
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException && !context.RequestAborted.IsCancellationRequested)
        {
            if (!context.Response.HasStarted)
            {
                context.Response.ContentType = "application/grpc";
                context.Response.AppendTrailer("grpc-status", "14"); // unavailable
                context.Response.AppendTrailer("grpc-message", Uri.EscapeDataString($"cannot reach the container runtime: {e.Message}"));
            }
        }
        catch (OperationCanceledException)
        {
            // The kubelet does not wait any more.
        }
    }

    public void Dispose() => _runtime.Dispose();

    private static bool IsStatus(string header) => header.StartsWith("grpc-status", StringComparison.OrdinalIgnoreCase) || header.Equals("grpc-message", StringComparison.OrdinalIgnoreCase);

    private async Task<byte[]> ReadPullAsync(Stream body, CancellationToken cancellationToken)
    {
        var bytes = new MemoryStream();
        byte[] buffer = new byte[8192];
        while (await body.ReadAsync(buffer, cancellationToken) is > 0 and int read)
        {
            bytes.Write(buffer, 0, read);
            if (bytes.Length > MostPullBytes)
            {
                throw new IOException("the request is too long");
            }
        }
        byte[] framed = bytes.ToArray();
        try
        {
            // A message in its frame: whether it is compressed, its length, the message.
            if (framed.Length >= FrameHeader && framed[0] == 0 && BinaryPrimitives.ReadUInt32BigEndian(framed.AsSpan(1)) == framed.Length - FrameHeader)
            {
                Remember(PullImageRequest.Parser.ParseFrom(framed.AsSpan(FrameHeader)));
            }
        }
        catch (InvalidProtocolBufferException)
        {
            // The runtime says what is wrong with it.
        }
        return framed;
    }

    private void Remember(PullImageRequest pull)
    {
        if (RemoteRequest.TryParse(pull.Image?.Image ?? "") is not { } reference)
        {
            return;
        }
        Blobs.Registry.Accounts.Credentials? given = pull.Auth is { } auth ? Read(auth, reference) : null;
        _credentials.Remember(reference, given);
        if (given is not null)
        {
            _logger.CredentialsRemembered(pull.Image!.Image);
        }
    }

    // As the runtime reads them. A token cannot be passed on to a mount; its image is pulled as usual.
    private static Blobs.Registry.Accounts.Credentials? Read(AuthConfig auth, ImageReference reference)
    {
        if (auth.ServerAddress.Length > 0 && !IsOf(auth.ServerAddress, reference))
        {
            return null;
        }
        if (auth.Username.Length > 0)
        {
            return new(auth.Username, auth.Password);
        }
        byte[] pair = new byte[auth.Auth.Length];
        return Convert.TryFromBase64String(auth.Auth, pair, out int length) && length > 0
            ? Blobs.Registry.Accounts.Credentials.Parse(Encoding.UTF8.GetString(pair.AsSpan(0, length)).TrimEnd('\0'))
            : null;
    }

    private static bool IsOf(string server, ImageReference reference)
    {
        string host = Uri.TryCreate(server.Contains("://", StringComparison.Ordinal) ? server : $"https://{server}", UriKind.Absolute, out Uri? url) ? url.Authority : server;
        return RemoteRequest.TryParse($"{host}/any/image")?.Location == reference.Location; // Docker Hub has several names
    }
}
