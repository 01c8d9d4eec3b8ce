using System.Globalization;
using System.Text.Json;

namespace LazyMount.TestKit;

/// <summary>How an <see cref="NginxServer"/> is set up. Files are PEM.</summary>
public sealed record NginxSettings
{
    /// <summary>HOST:PORT of the server behind it, which speaks plain HTTP.</summary>
    public required string Upstream { get; init; }

    /// <summary>The server's certificate and those between it and the root; null: plain HTTP.</summary>
    public string? Certificate { get; init; }

    public string? CertificateKey { get; init; }

    /// <summary>Require a client certificate that one of these authorities has issued.</summary>
    public string? ClientAuthority { get; init; }

    /// <summary>Offer HTTP/2 besides HTTP/1.1.</summary>
    public bool Http2 { get; init; } = true;
}

/// <summary>A request in nginx's access log.</summary>
/// <param name="Method">Such as "GET".</param>
/// <param name="Uri">Path and query, as they came.</param>
/// <param name="Status">How it was answered.</param>
/// <param name="Protocol">"HTTP/1.1" or "HTTP/2.0".</param>
/// <param name="HasAuthorization">It had an Authorization header.</param>
/// <param name="ClientName">The subject of the client's certificate; empty without one.</param>
/// <param name="UserAgent">Who asks.</param>
/// <param name="BodyBytes">Bytes of the answer without its headers.</param>
public sealed record NginxRequest(string Method, string Uri, int Status, string Protocol, bool HasAuthorization, string ClientName, string UserAgent, long BodyBytes);

/// <summary>A real web server (nginx) before a registry, on a free port of the loopback interface: TLS, HTTP/2, client certificates.</summary>
public sealed class NginxServer : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly ServerProcess _server;

    public NginxServer(NginxSettings settings)
    {
        Port = ServerProcess.FreePort();
        bool tls = settings.Certificate is not null;
        string listen = $"127.0.0.1:{Port}{(tls ? " ssl" : "")}{(tls && settings.Http2 ? " http2" : "")}";
        string certificates = tls ? $"ssl_certificate {settings.Certificate}; ssl_certificate_key {settings.CertificateKey};" : "";
        if (settings.ClientAuthority is not null)
        {
            certificates += $" ssl_client_certificate {settings.ClientAuthority}; ssl_verify_client on;";
        }
        string work = _directory.CreateDirectory("work");
        // One process: killing it leaves no workers behind.
        File.WriteAllText(_directory["nginx.conf"], $$"""
            daemon off; master_process off; pid {{_directory["pid"]}}; error_log stderr warn;
            events { worker_connections 512; }
            http {
              client_body_temp_path {{work}}; proxy_temp_path {{work}}; fastcgi_temp_path {{work}}; uwsgi_temp_path {{work}}; scgi_temp_path {{work}};
              log_format json escape=json '["$request_method","$request_uri","$status","$server_protocol","$http_authorization","$ssl_client_s_dn","$http_user_agent","$body_bytes_sent"]';
              access_log {{_directory["access.log"]}} json;
              client_max_body_size 0;
              server {
                listen {{listen}};
                {{certificates}}
                location / {
                  proxy_pass http://{{settings.Upstream}};
                  proxy_http_version 1.1;
                  proxy_set_header Host $http_host;
                  proxy_set_header X-Forwarded-Proto $scheme;
                  proxy_set_header Connection "";
                  proxy_buffering off;
                  proxy_request_buffering off;
                }
              }
            }

            """);
        _server = ServerProcess.Start(Port, _directory["log"], "nginx", "-p", _directory.Path, "-e", "stderr", "-c", _directory["nginx.conf"]);
    }

    public int Port { get; }

    /// <summary>HOST:PORT.</summary>
    public string Host => $"127.0.0.1:{Port}";

    /// <summary>Its warnings and errors.</summary>
    public string Log => _server.Log;

    /// <summary>The requests so far, in the order in which they ended.</summary>
    public IReadOnlyList<NginxRequest> Requests => [.. File.ReadLines(_directory["access.log"]).Select(Read)];

    public void Dispose()
    {
        _server.Dispose();
        _directory.Dispose();
    }

    private static NginxRequest Read(string line)
    {
        string[] values = JsonSerializer.Deserialize<string[]>(line)!;
        return new NginxRequest(values[0], values[1], int.Parse(values[2], CultureInfo.InvariantCulture), values[3], values[4].Length > 0, values[5], values[6], long.Parse(values[7], CultureInfo.InvariantCulture));
    }
}
