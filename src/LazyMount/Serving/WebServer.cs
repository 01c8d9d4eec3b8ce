using System.Net.Sockets;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.Serving.Pages;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;

namespace LazyMount.Serving;

/// <summary>
/// One HTTP server with two faces over some images: a drive (<see cref="Drive"/>) and pages (<see cref="Site"/>). Here is what holds for every
/// request: who may ask, what a browser may do with the answer, and how much the server takes on at once.
/// </summary>
internal sealed class WebServer : IAsyncDisposable
{
    /// <summary>Bytes of a request's body: only PROPFIND has one that is read.</summary>
    public const int MaxBody = 64 << 10;

    private const int MaxConnections = 512;
    private const int MaxRequestLine = 32 << 10; // a path of 4,096 bytes, each escaped, and a query that has it again
    private const int HeldForClient = 64 << 10;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly WebApplication _app;
    private readonly Gatekeeper _gatekeeper;
    private readonly Drive _drive;
    private readonly Site _site;
    private readonly ILogger _logger;
    private readonly bool _isVerbose;

    private WebServer(ServeSettings settings, ServedImages images, CommandSettings command, ILoggerFactory loggers)
    {
        (_gatekeeper, _drive, _site) = (new Gatekeeper(settings), new Drive(images), new Site(images, command.Counters));
        (_logger, _isVerbose) = (loggers.CreateLogger("LazyMount.Serve"), command.Verbose);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.RemoveAll<ILoggerFactory>();
        builder.Services.AddSingleton(command.Verbose ? loggers : Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            KestrelServerLimits limits = kestrel.Limits;
            limits.MaxConcurrentConnections = MaxConnections;
            limits.MaxRequestBodySize = MaxBody;
            limits.MaxRequestLineSize = MaxRequestLine;
            limits.MaxRequestBufferSize = MaxRequestLine + (32 << 10); // with the headers
            limits.MaxResponseBufferSize = HeldForClient;
            limits.RequestHeadersTimeout = s_patience;
            limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
            kestrel.Listen(settings.Listen, listen =>
            {
                listen.Protocols = HttpProtocols.Http1;
                if (settings.Certificate is { } certificate)
                {
                    listen.UseHttps(certificate);
                }
            });
        });
        _app = builder.Build();
        _app.Run(AnswerAsync);
    }

    /// <summary>The port that the server listens at.</summary>
    public int Port { get; private set; }

    /// <summary>Starts to listen.</summary>
    /// <exception cref="CommandException">The address cannot be had.</exception>
    public static async Task<WebServer> StartAsync(ServeSettings settings, ServedImages images, CommandSettings command, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var server = new WebServer(settings, images, command, loggers);
        try
        {
            await server._app.StartAsync(cancellationToken);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            await server.DisposeAsync();
            string reason = e is AddressInUseException || e.InnerException is AddressInUseException ? "another process listens there; choose another address"
                : (e as SocketException ?? e.InnerException as SocketException)?.SocketErrorCode switch
                {
                    SocketError.AddressNotAvailable => "this machine does not have the address; choose another one",
                    SocketError.AccessDenied => "you may not listen there; choose a port above 1023",
                    _ => $"{e.Message.TrimEnd('.')}; choose another address",
                };
            throw new CommandException($"cannot listen at '{settings.Listen}': {reason}", ExitCode.Failed, e);
        }
        server.Port = new Uri(server._app.Urls.First()).Port;
        return server;
    }

    /// <summary>Ends the requests that are answered, and stops.</summary>
    public async Task StopAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await _app.StopAsync(limit.Token);
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    /// <summary>Answers with one sentence of plain text.</summary>
    public static Task SendTextAsync(WebRequest request, int status, string sentence)
    {
        request.Response.StatusCode = status;
        request.Response.ContentType = "text/plain; charset=utf-8";
        return request.Response.WriteAsync(sentence + "\n", request.Aborted);
    }

    public static Task SendNotFoundAsync(WebRequest request) => SendTextAsync(request, StatusCodes.Status404NotFound, "not found: no image that is served has this path");

    private async Task AnswerAsync(HttpContext context)
    {
        Protect(context.Response.Headers);
        var request = new WebRequest(context);
        try
        {
            await AnswerAsync(request);
        }
        catch (Exception) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody waits for the answer.
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e)
        {
            await FailAsync(request, e.StatusCode, e.Message);
        }
#pragma warning disable CA1031 // Whatever one request meets must not end the server.
        catch (Exception e)
#pragma warning restore CA1031
        {
            int status = e switch
            {
                ImageException { Error: ImageError.NotFound } => StatusCodes.Status404NotFound,
                ImageException or CommandException or TimeoutException or IOException => StatusCodes.Status502BadGateway,
                _ => StatusCodes.Status500InternalServerError,
            };
            string sentence = Failure.Describe(e, verbose: false);
            _logger.RequestFailed(_isVerbose || !Failure.IsExpected(e) ? e : null, context.Request.Method, CommandOutput.Displayable(context.Request.Path.ToString()), sentence);
            await FailAsync(request, status, sentence["lazymount: ".Length..]);
        }
    }

    // What has begun cannot be taken back: the client must see that it is not whole.
    private async Task FailAsync(WebRequest request, int status, string sentence)
    {
        if (request.Response.HasStarted)
        {
            request.Context.Abort();
            return;
        }
        request.Response.Clear();
        Protect(request.Response.Headers);
        await _site.SendFailureAsync(request, status, sentence);
    }

    private async Task AnswerAsync(WebRequest request)
    {
        HttpRequest http = request.Context.Request;
        if (!_gatekeeper.IsOurs(request.Context))
        {
            await SendTextAsync(request, StatusCodes.Status421MisdirectedRequest, "cannot answer for this host name: use the address that lazymount serve has printed, or start it with --host NAME");
            return;
        }
        if (!Gatekeeper.IsOfOurSite(http))
        {
            await SendTextAsync(request, StatusCodes.Status403Forbidden, "cannot answer the page of another site");
            return;
        }
        if (_gatekeeper.HasToken(request))
        {
            _gatekeeper.SetCookie(request.Context);
            await _site.SendWelcomeAsync(request);
            return;
        }
        if (!_gatekeeper.IsKnown(request.Context))
        {
            request.Response.Headers.WWWAuthenticate = "Basic realm=\"lazymount\", charset=\"UTF-8\"";
            await SendTextAsync(request, StatusCodes.Status401Unauthorized, "open the address that lazymount serve has printed, or give its password");
            return;
        }
        if (request.Names is null)
        {
            await SendNotFoundAsync(request);
            return;
        }
        bool isDrive = request.Names.Count == 0 || request.Names[0].AsSpan().SequenceEqual("files"u8);
        switch (http.Method)
        {
            case "OPTIONS":
                Drive.SendOptions(request.Response);
                break;
            case "PROPFIND" when isDrive:
                await _drive.FindAsync(request);
                break;
            case "PROPFIND":
                await SendNotFoundAsync(request);
                break;
            case "GET" or "HEAD" when isDrive && request.Names.Count > 0:
                await _drive.SendFileAsync(request);
                break;
            case "GET" or "HEAD":
                await _site.SendAsync(request);
                break;
            default:
                request.Response.Headers.Allow = Drive.Methods;
                await SendTextAsync(request, StatusCodes.Status405MethodNotAllowed, "cannot change an image: everything here is read-only");
                break;
        }
    }

    // Nothing is loaded from elsewhere, nobody else's page shows or reads ours, and what an image holds is never taken for a script.
    private static void Protect(IHeaderDictionary headers)
    {
        headers.ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Referrer-Policy"] = "no-referrer";
        headers.CacheControl = "no-store";
    }
}
