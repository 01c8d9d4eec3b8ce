using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>Where registries are asked.</summary>
internal sealed class RegistryHosts(RegistryOptions options)
{
    /// <summary>The places to ask for a repository, in order: mirrors, then the registry itself.</summary>
    /// <param name="registry">As references name it: "docker.io", "ghcr.io", "host:5000".</param>
    /// <param name="repository">Its repository.</param>
    public IReadOnlyList<RegistryEndpoint> EndpointsOf(string registry, string repository)
    {
        string host = registry == "docker.io" ? "registry-1.docker.io" : registry;
        string? scheme = options.PlainHttp ? "http" : Loopback.Is(host) ? null : "https";
        return
        [
            new RegistryEndpoint
            {
                Host = registry,
                Repository = repository,
                Root = scheme is null ? null : new Uri($"{scheme}://{host}/v2/"),
                Tls = new EndpointTls { IsVerified = options.VerifiesTls, CaFiles = options.TlsCaFile is { } file ? [file] : [] },
            },
        ];
    }
}
