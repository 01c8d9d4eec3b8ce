namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>A place where a repository is asked: the registry itself, or a mirror of it.</summary>
internal sealed record RegistryEndpoint
{
    /// <summary>HOST[:PORT] that is asked. Credentials and certificates are looked up by it. Docker Hub is "docker.io".</summary>
    public required string Host { get; init; }

    /// <summary>The repository's name there.</summary>
    public required string Repository { get; init; }

    /// <summary>The URL before the repository's name; ends in a slash, such as "https://ghcr.io/v2/".</summary>
    public required Uri Root { get; init; }

    /// <summary>Where it is asked in plain HTTP when it does not speak TLS; null: nowhere.</summary>
    public Uri? PlainRoot { get; init; }

    /// <summary>The server may speak plain HTTP: it is asked so when it does not speak TLS. <see cref="Root"/> is an HTTPS URL then.</summary>
    public bool FallsBackToHttp => PlainRoot is not null;

    /// <summary>The URL of the proxy through which it is asked; null: the environment says.</summary>
    public string? Proxy { get; init; }

    /// <summary>The endpoint is a mirror of the registry that the reference names.</summary>
    public bool IsMirror { get; init; }

    /// <summary>The endpoint may be asked for the digest of a tag.</summary>
    public bool CanResolve { get; init; } = true;

    /// <summary>It may be asked for manifests by digest and for blobs.</summary>
    public bool CanPull { get; init; } = true;

    /// <summary>It may be pushed to.</summary>
    public bool CanPush { get; init; } = true;

    /// <summary>The registry that the reference names, told to a mirror that serves several (the query parameter "ns" of containerd); null: not told.</summary>
    public string? Namespace { get; init; }

    /// <summary>Header fields for every request to it.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Headers { get; init; } = [];

    /// <summary>The certificates that the server is checked against, and our client certificate.</summary>
    public EndpointTls Tls { get; init; } = new();

    /// <summary>How long connecting may take; null: as long as anywhere.</summary>
    public TimeSpan? DialTimeout { get; init; }

    /// <summary>Where it was configured, for sentences: "--mirror" or a file's path. Empty for the registry itself.</summary>
    public string Origin { get; init; } = "";
}

/// <summary>TLS with one endpoint.</summary>
internal sealed record EndpointTls
{
    /// <summary>The server's certificate is checked.</summary>
    public bool IsVerified { get; init; } = true;

    /// <summary>PEM files of certificates that are trusted as issuers besides those of the system.</summary>
    public IReadOnlyList<string> CaFiles { get; init; } = [];

    /// <summary>Certificates that may be shown to the server.</summary>
    public IReadOnlyList<ClientCertificateFiles> ClientCertificates { get; init; } = [];
}

/// <summary>PEM files of a certificate and its key. They may be the same file.</summary>
internal sealed record ClientCertificateFiles(string Certificate, string Key);
