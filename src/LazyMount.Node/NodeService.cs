using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using LazyMount.Node.Configuration;
using LazyMount.Node.Credentials;
using LazyMount.Node.Images;
using LazyMount.Node.Metrics;
using LazyMount.Node.Mounting;
using LazyMount.Node.Snapshots;
using LazyMount.Node.Volumes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace LazyMount.Node;

/// <summary>
/// `lazymount-node serve`: the services on one unix socket, until a signal. What it has mounted stays: containers use it, and the next process
/// finds it again.
/// </summary>
internal static class NodeService
{
    private const int MostMessageBytes = 16 << 20;

    private static readonly TimeSpan s_connectionsStay = TimeSpan.FromDays(1);

    private static readonly TimeSpan s_requestsEnd = TimeSpan.FromSeconds(5);

    /// <summary>Serves until a signal.</summary>
    /// <exception cref="NodeException">It cannot serve; says why in a sentence.</exception>
    public static async Task RunAsync(NodeConfiguration configuration)
    {
        using ILoggerFactory loggers = LoggerFactory.Create(builder => Log(builder, configuration));
        ILogger logger = loggers.CreateLogger("LazyMount.Node");
        using CrossProcessLock held = await LockAsync(configuration);
        SnapshotStore store = SnapshotStore.Open(configuration.Root, loggers.CreateLogger<SnapshotStore>());
        var credentials = new PullCredentials(configuration.CredentialProviders, loggers.CreateLogger<PullCredentials>());
        var counters = new NodeCounters();
        await using var access = new ImageAccess(configuration, credentials, loggers);
        var mounts = new ImageMounts(configuration, credentials, counters, loggers.CreateLogger<ImageMounts>());
        var snapshotter = new Snapshotter(store, access, mounts, new SnapshotUsage(), counters, loggers.CreateLogger<Snapshotter>());

        string[] sockets = [configuration.Socket, .. ((string?[])[configuration.CsiSocket, configuration.CsiRegistration]).OfType<string>()];
        foreach (string socket in sockets)
        {
            await FreeSocketAsync(socket);
        }
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddSingleton(snapshotter);
        builder.Services.AddSingleton(configuration);
        builder.Services.AddSingleton(credentials);
        using ImageVolumes? volumes = configuration.CsiSocket is null ? null : new ImageVolumes(configuration, credentials, mounts, loggers);
        if (volumes is not null)
        {
            builder.Services.AddSingleton(volumes);
        }
        builder.Services.AddRoutingCore();
        builder.Services.AddGrpc(options => options.MaxReceiveMessageSize = MostMessageBytes);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(server =>
        {
            server.AddServerHeader = false;
            server.Limits.MaxRequestBodySize = MostMessageBytes;
            // Clients of this machine, which may be busy, and whose connections are meant to stay.
            server.Limits.MinRequestBodyDataRate = null;
            server.Limits.MinResponseDataRate = null;
            server.Limits.KeepAliveTimeout = s_connectionsStay;
            foreach (string socket in sockets)
            {
                server.ListenUnixSocket(socket, listener => listener.Protocols = HttpProtocols.Http2);
            }
            if (configuration.Metrics is { } address)
            {
                server.Listen(address, listener => listener.Protocols = HttpProtocols.Http1);
            }
        });
        await using WebApplication app = builder.Build();
        // Whoever may open the port must reach nothing but the counters.
        app.Use(async (context, next) =>
        {
            if (context.Request.Path == "/metrics" || context.Connection.LocalIpAddress is not null)
            {
                await AnswerMetricsAsync(context, counters, store);
                return;
            }
            await next(context);
        });
        app.MapGrpcService<SnapshotsEndpoint>();
        app.MapGrpcService<HealthEndpoint>();
        if (volumes is not null)
        {
            app.MapGrpcService<CsiIdentityEndpoint>();
            app.MapGrpcService<CsiNodeEndpoint>();
            app.MapGrpcService<RegistrationEndpoint>();
        }
        using ImageServiceProxy? proxy = configuration.ImageService is { } runtime ? new ImageServiceProxy(runtime, credentials, loggers.CreateLogger<ImageServiceProxy>()) : null;
        if (proxy is not null)
        {
            app.Map(ImageServiceProxy.Route, proxy.AnswerAsync);
        }

        var stop = new TaskCompletionSource();
        using PosixSignalRegistration terminate = OnSignal(PosixSignal.SIGTERM), interrupt = OnSignal(PosixSignal.SIGINT);
        int mask = Interop.SetFileMask(Interop.OwnerOnlyMask); // the socket is nobody else's from its first moment
        try
        {
            await app.StartAsync();
        }
        catch (IOException e)
        {
            throw new NodeException($"cannot serve on '{configuration.Socket}'{(configuration.Metrics is { } metrics ? $" and {metrics}" : "")}: {e.Message}", e);
        }
        finally
        {
            _ = Interop.SetFileMask(mask);
        }
        logger.Serving(configuration.Socket, store.All.Count, configuration.Root);
        Notify("READY=1");
        await stop.Task;
        Notify("STOPPING=1");
        logger.Stopping();
        using var patience = new CancellationTokenSource(s_requestsEnd);
        await app.StopAsync(patience.Token);

        PosixSignalRegistration OnSignal(PosixSignal signal) => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            stop.TrySetResult();
        });
    }

    private static void Log(ILoggingBuilder builder, NodeConfiguration configuration)
    {
        builder.SetMinimumLevel(configuration.Verbose ? LogLevel.Debug : LogLevel.Information);
        builder.AddFilter("Microsoft", LogLevel.Warning).AddFilter("Grpc", LogLevel.Critical);
        if (configuration.LogsJson)
        {
            builder.AddJsonConsole(json => (json.TimestampFormat, json.UseUtcTimestamp) = ("yyyy-MM-ddTHH:mm:ss.fffZ", true));
        }
        else
        {
            builder.AddSimpleConsole(text => (text.TimestampFormat, text.UseUtcTimestamp, text.SingleLine, text.ColorBehavior)
                = ("yyyy-MM-ddTHH:mm:ss.fffZ ", true, true, LoggerColorBehavior.Disabled));
        }
        builder.Services.Configure<ConsoleLoggerOptions>(options => options.LogToStandardErrorThreshold = LogLevel.Trace);
    }

    private static async Task<CrossProcessLock> LockAsync(NodeConfiguration configuration)
    {
        try
        {
            Directory.CreateDirectory(configuration.Root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            string file = Path.Combine(configuration.Root, "lock");
            return await CrossProcessLock.TryTakeAsync(file, TimeSpan.Zero, CancellationToken.None)
                ?? throw new NodeException($"cannot use '{configuration.Root}': another lazymount-node{(CrossProcessLock.FindHolder(file) is int holder ? $" (process {holder})" : "")} has it; stop that one, or set another root");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new NodeException($"cannot use '{configuration.Root}': {e.Message}", e);
        }
    }

    // A socket that a killed process left is removed; one that somebody listens on is not.
    private static async Task FreeSocketAsync(string path)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if (!File.Exists(path))
            {
                return;
            }
            using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await probe.ConnectAsync(new UnixDomainSocketEndPoint(path));
            }
            catch (SocketException)
            {
                File.Delete(path);
                return;
            }
            throw new NodeException($"cannot serve on '{path}': another process listens there; stop it, or set another socket");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new NodeException($"cannot serve on '{path}': {e.Message}", e);
        }
    }

    private static async Task AnswerMetricsAsync(HttpContext context, NodeCounters counters, SnapshotStore store)
    {
        // No web page can make a browser name this host.
        bool isTrusted = context.Request.Host.Host is "localhost" or "" || IPAddress.TryParse(context.Request.Host.Host, out _);
        if (context.Request.Path != "/metrics" || !isTrusted)
        {
            context.Response.StatusCode = isTrusted ? StatusCodes.Status404NotFound : StatusCodes.Status403Forbidden;
            return;
        }
        context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        IReadOnlyList<SnapshotRecord> records = store.All;
        await context.Response.WriteAsync(counters.ToText(
        [
            ("active", records.Count(record => record.Kind == SnapshotKind.Active)),
            ("view", records.Count(record => record.Kind == SnapshotKind.View)),
            ("unpacked", records.Count(record => record is { Kind: SnapshotKind.Committed, Remote: null })),
            ("lazy", records.Count(record => record.Remote is not null)),
        ]));
    }

    // sd_notify(3).
    private static void Notify(string state)
    {
        if (Environment.GetEnvironmentVariable("NOTIFY_SOCKET") is not { Length: > 0 } path)
        {
            return;
        }
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            socket.SendTo(System.Text.Encoding.UTF8.GetBytes(state), new UnixDomainSocketEndPoint(path[0] == '@' ? '\0' + path[1..] : path));
        }
        catch (SocketException)
        {
            // The manager is gone, or not there.
        }
    }
}
