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
        IReadOnlyList<RegistryEndpoint> configured = FindHostsToml(reference.Location) is { } file ? HostsToml.Read(file, upstream) : conf ?? [upstream];
        var mirrors = options.Mirrors.Where(mirror => mirror.Registry == reference.Location).Select(mirror => At(EndpointUrl.HostOf(mirror.Url), reference.Repository, isPlain: false) with
        {
            Root = EndpointUrl.RootOf(mirror.Url, isWhole: mirror.Url.AbsolutePath.Contains("/v2/", StringComparison.Ordinal)),
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
        string? scheme = isPlain ? "http" : Loopback.Is(host) ? null : "https";
        EndpointTls files = CertificateDirectories.Find(options.Environment, registry);
        return new RegistryEndpoint
        {
            Host = registry,
            Repository = repository,
            Root = scheme is null ? null : new Uri($"{scheme}://{host}/v2/"),
            Tls = files with { IsVerified = options.VerifiesTls, CaFiles = [.. options.TlsCaFile is { } file ? new[] { file } : [], .. files.CaFiles] },
            Origin = options.VerifiesTls ? "" : "--tls-verify=false",
        };
    }

    // The directory of the host, with the port in either spelling, else _default; the system's before the user's.
    private TomlFile? FindHostsToml(string registry)
    {
        RegistryEnvironment environment = options.Environment;
        int colon = registry.LastIndexOf(':');
        string[] names = [.. colon > registry.LastIndexOf(']') ? new[] { $"{registry[..colon]}_{registry[(colon + 1)..]}_" } : [], registry, "_default"];
        foreach (string name in names)
        {
            foreach (string root in (string[])[Path.Combine(environment.Root, "etc"), environment.ConfigHome])
            {
                foreach (string engine in (string[])["containerd", "docker"])
                {
                    if (TomlFile.TryRead(Path.Combine(root, engine, "certs.d", name, HostsToml.FileName)) is { } file)
                        return file;
                }
            }
        }
        return null;
    }
}
