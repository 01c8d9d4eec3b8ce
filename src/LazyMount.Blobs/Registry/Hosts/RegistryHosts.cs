using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>
/// Where a repository is asked. Mirrors of --mirror come first. Then the first configuration that is for the registry counts alone: a
/// hosts.toml of containerd for the host, its _default, else podman's registries.conf; what that blocks is blocked in any case.
/// </summary>
internal sealed class RegistryHosts(RegistryOptions options)
{
    /// <summary>The places to ask for an image, in order: mirrors, then the registry itself. Never empty.</summary>
    /// <exception cref="ImageException">A configuration file cannot be used, or blocks the registry.</exception>
    public IReadOnlyList<RegistryEndpoint> EndpointsOf(ImageReference reference)
    {
        RegistryEndpoint upstream = At(reference.Location, reference.Repository, options.PlainHttp);
        // --plain-http is for the registry that the reference names.
        IReadOnlyList<RegistryEndpoint>? conf = RegistriesConf.Read(options.Environment).Find(reference, place => At(place.Location, place.Repository, options.PlainHttp && place.Location == reference.Location));
        IReadOnlyList<RegistryEndpoint> configured = CertificateDirectories.FindHostsToml(options.Environment, reference.Location, options.Note) is { } file
            ? new HostsToml(file, upstream, TlsOf, options.Note).Read() : conf ?? [upstream];
        var mirrors = options.Mirrors.Where(mirror => mirror.Registry == reference.Location).Select(mirror => At(EndpointUrl.HostOf(mirror.Url), reference.Repository, isPlain: false) with
        {
            Root = EndpointUrl.RootOf(mirror.Url, isWhole: mirror.Url.AbsolutePath.Contains("/v2/", StringComparison.Ordinal)),
            PlainRoot = null,
            IsMirror = true,
            CanPush = false,
            Namespace = reference.Location,
            Origin = "--mirror",
        });
        return [.. mirrors, .. configured];
    }

    private RegistryEndpoint At(string registry, string repository, bool isPlain)
    {
        string host = DockerHub.HostOf(registry);
        return new RegistryEndpoint
        {
            Host = registry,
            Repository = repository,
            Root = new Uri($"{(isPlain ? "http" : "https")}://{host}/v2/"),
            PlainRoot = !isPlain && Loopback.Is(host) ? EndpointUrl.WithScheme(new Uri($"https://{host}/v2/"), "http", host) : null,
            Tls = TlsOf(registry),
            Origin = options.VerifiesTls ? "" : "--tls-verify=false",
        };
    }

    private EndpointTls TlsOf(string host)
    {
        EndpointTls files = CertificateDirectories.Find(options.Environment, host, options.Note);
        return files with { IsVerified = options.VerifiesTls, CaFiles = [.. options.TlsCaFile is { } file ? new[] { file } : [], .. files.CaFiles] };
    }
}
