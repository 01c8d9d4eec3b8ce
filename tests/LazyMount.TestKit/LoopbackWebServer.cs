using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace LazyMount.TestKit;

/// <summary>A web server (Kestrel) in this process, on a free port of the loopback interface.</summary>
internal sealed class LoopbackWebServer : IDisposable
{
    private readonly WebApplication _application;

    /// <param name="answer">Answers every request.</param>
    /// <param name="certificate">Speak TLS with this certificate; null: plain HTTP.</param>
    public LoopbackWebServer(RequestDelegate answer, X509Certificate2? certificate = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrel(options => options.Listen(IPAddress.Loopback, 0, listen =>
        {
            if (certificate is not null)
            {
                listen.UseHttps(certificate);
            }
        }));
        _application = builder.Build();
        _application.Run(answer);
        _application.StartAsync().GetAwaiter().GetResult();
        string address = _application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        (Scheme, Port) = (certificate is null ? "http" : "https", new Uri(address).Port);
    }

    public string Scheme { get; }

    public int Port { get; }

    public void Dispose()
    {
        using var now = new CancellationTokenSource();
        now.Cancel(); // requests under way are cut
        try
        {
            _application.StopAsync(now.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            // As asked.
        }
        ((IDisposable)_application).Dispose();
    }
}
