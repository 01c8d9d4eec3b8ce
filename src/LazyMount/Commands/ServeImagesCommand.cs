using System.CommandLine;
using System.Net;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Output;
using LazyMount.Serving;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount serve`: images as pages for a browser and as a network drive.</summary>
internal static class ServeImagesCommand
{
    public static Command Create(CommandHost host)
    {
        var images = new Argument<string[]>("IMAGE") { Description = "Images to serve (lazymount help images)", Arity = ArgumentArity.OneOrMore };
        var listen = new Option<string?>("--listen") { Description = "Listen here [a free port of this machine alone]", HelpName = "[ADDRESS:]PORT" };
        var certificate = new Option<string?>("--tls-cert") { Description = "Serve HTTPS with the certificate in this PEM file", HelpName = "FILE" };
        var key = new Option<string?>("--tls-key") { Description = "The key of --tls-cert, in PEM", HelpName = "FILE" };
        var plain = new Option<bool>("--listen-plain-http") { Description = "Serve other machines without TLS: everybody on the way can read the password" };
        var hosts = new Option<string[]>("--host") { Description = "Answer requests that name this host, too (repeatable)", HelpName = "NAME", DefaultValueFactory = _ => [] };
        var passwordFile = new Option<string?>("--password-file") { Description = "Ask for the password in the first line of this file [a token in the printed URL]", HelpName = "FILE" };
        var passwordStdin = new Option<bool>("--password-stdin") { Description = "Ask for the password in the first line of standard input" };
        var isPublic = new Option<bool>("--public") { Description = "Ask for no password: everybody who reaches the address may read the images" };
        var verb = new Verb("serve",
            "Serve images as web pages and as a network drive, until Ctrl-C. "
            + "The printed URL opens the pages: contents, layers and what each changed, search, sizes, differences. URL/files/ is the drive (WebDAV, read-only) for Windows, macOS, GNOME, KDE, rclone and davfs2; its password is the token of the URL, with any user name. "
            + "Only the named images are served; each is opened when somebody looks at it, and closed two minutes after the last request.\n\n"
            + "Another address than one of this machine alone needs --tls-cert and --tls-key, or --listen-plain-http; --plain-http says the same, and lets registries be asked without TLS too. Windows refuses passwords over plain HTTP.",
            """
            lazymount serve debian:12
            lazymount serve app:v1 app:v2 --listen 8080
            lazymount serve app:v1 --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --host images.example.com
            rclone ls --webdav-url http://127.0.0.1:8080/files/ --webdav-user x --webdav-pass "$(rclone obscure TOKEN)" :webdav:
            """)
        { images, listen, certificate, key, plain, hosts, passwordFile, passwordStdin, isPublic };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference[] references = [.. parsed.GetRequiredValue(images).Select(ImageArgument.Parse)];
            IPEndPoint address = parsed.GetValue(listen) is { } text ? ServeSettings.ParseListen(text) : new IPEndPoint(IPAddress.Loopback, 0);
            (string? certificateFile, string? keyFile) = (parsed.GetValue(certificate), parsed.GetValue(key));
            if (certificateFile is null != keyFile is null)
            {
                throw new UsageException("--tls-cert and --tls-key belong together: give both");
            }
            bool hasPassword = parsed.GetValue(passwordFile) is not null;
            if ((hasPassword ? 1 : 0) + (parsed.GetValue(passwordStdin) ? 1 : 0) + (parsed.GetValue(isPublic) ? 1 : 0) > 1)
            {
                throw new UsageException("--password-file, --password-stdin and --public exclude each other");
            }
            if (!IPAddress.IsLoopback(address.Address) && certificateFile is null && !parsed.GetValue(plain) && !settings.Registries.PlainHttp)
            {
                throw new UsageException($"--listen '{parsed.GetValue(listen)}' is for other machines too: add --tls-cert and --tls-key, or --listen-plain-http");
            }
            bool isToken = !hasPassword && !parsed.GetValue(passwordStdin) && !parsed.GetValue(isPublic);
            var serving = new ServeSettings
            {
                Listen = address,
                Certificate = certificateFile is null ? null : ServeSettings.ReadCertificate(certificateFile, keyFile!),
                Password = parsed.GetValue(isPublic) ? null : isToken ? ServeSettings.NewToken() : ServeSettings.ReadPassword(parsed.GetValue(passwordFile)),
                IsToken = isToken,
                Hosts = parsed.GetValue(hosts) ?? [],
            };
            await ServeAsync(references, serving, settings, host, cancellationToken);
            return ExitCode.Done;
        });
        return verb;
    }

    private static async Task ServeAsync(ImageReference[] references, ServeSettings serving, CommandSettings settings, CommandHost host, CancellationToken cancellationToken)
    {
        using ILoggerFactory loggers = Loggers.ForForeground(settings);
        await using var images = new ServedImages(references, settings, loggers);
        await using WebServer server = await WebServer.StartAsync(serving, images, settings, loggers, cancellationToken);
        string address = serving.Hosts is [var first, ..] ? first
            : serving.Listen.Address.Equals(IPAddress.Any) ? IPAddress.Loopback.ToString()
            : serving.Listen.Address.Equals(IPAddress.IPv6Any) ? $"[{IPAddress.IPv6Loopback}]"
            : new IPEndPoint(serving.Listen.Address, 0).ToString()[..^2];
        string url = $"{(serving.Certificate is null ? "http" : "https")}://{address}:{server.Port}/";
        host.Output.WriteLine(serving.IsToken ? $"{url}?{Gatekeeper.TokenQuery}={serving.Password}" : url);
        host.Output.Flush();
        string password = serving.Password is null ? "nobody is asked for a password" : serving.IsToken ? "any user name, the token as password" : "any user name, your password";
        host.Note($"the network drive is {url}{Drive.Root}/ ({password}); Ctrl-C ends it");
        try
        {
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // The signal that ends it is how it is meant to end.
        }
        await server.StopAsync();
    }
}
