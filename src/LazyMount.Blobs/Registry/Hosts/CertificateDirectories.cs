using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry.Connections;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>
/// The directories of configuration for one host (certs.d/HOST[:PORT] of docker, podman and containerd). *.crt are issuers that are trusted,
/// *.cert and *.key of one name are a client certificate and its key; a hosts.toml of containerd takes their place in its directory.
/// A directory that this user may not look into counts as absent, as podman does it.
/// </summary>
internal static class CertificateDirectories
{
    private const string DefaultName = "_default"; // of containerd

    private static readonly (string Name, bool HasHosts, bool HidesForHosts)[] s_engines = [("containerd", true, true), ("docker", true, false), ("containers", false, false)];

    /// <summary>The issuers in all directories of a host together, and the client certificates of the first directory that has any for this user.</summary>
    /// <param name="environment">Where the directories are.</param>
    /// <param name="host">HOST[:PORT].</param>
    /// <param name="note">Told of files that are passed over.</param>
    /// <exception cref="ImageException">A directory holds half a pair.</exception>
    public static EndpointTls Find(RegistryEnvironment environment, string host, Action<string> note)
    {
        var authorities = new List<string>();
        var pairs = new List<ClientCertificateFiles>();
        string[] hosts = host == DockerHub.Name ? [DockerHub.Name, DockerHub.Host] : [host];
        foreach ((Root root, string directory) in Roots(environment).SelectMany(root => hosts.SelectMany(each => DirectoriesOf(root, each)).Select(directory => (root, directory))))
        {
            string[] files = CertificatesOf(directory, root.HidesForHosts);
            foreach (string file in files.Where(file => file.EndsWith(".crt", StringComparison.Ordinal)))
            {
                // An empty or foreign file is no reason to refuse a server that the system trusts.
                if (CertificateFiles.WhyNot(file) is { } reason)
                    note($"ignoring '{Printable.Of(file)}': {reason}");
                else
                    authorities.Add(file);
            }
            bool isFirst = pairs.Count == 0;
            foreach (string file in files.Where(file => file.EndsWith(".cert", StringComparison.Ordinal)))
            {
                string key = Path.ChangeExtension(file, ".key");
                if (!files.Contains(key))
                    throw Half(file, key);
                if (!isFirst)
                    continue;
                if (IsReadable(key) && IsReadable(file))
                    pairs.Add(new ClientCertificateFiles(file, key));
                else
                    note($"ignoring the client certificate '{Printable.Of(file)}': this user may not read it or its key");
            }
            foreach (string key in files.Where(file => file.EndsWith(".key", StringComparison.Ordinal)))
            {
                if (!files.Contains(Path.ChangeExtension(key, ".cert")))
                    throw Half(key, Path.ChangeExtension(key, ".cert"));
            }
        }
        return new EndpointTls { CaFiles = authorities, ClientCertificates = pairs };
    }

    /// <summary>
    /// The hosts.toml in force for a registry; null when there is none. Below each certs.d the first directory that exists counts, as in
    /// containerd: the registry's own (in either spelling of its port), else _default. A registry's own file comes before any _default.
    /// </summary>
    /// <exception cref="ImageException">The file is malformed.</exception>
    public static TomlFile? FindHostsToml(RegistryEnvironment environment, string registry, Action<string> note)
    {
        TomlFile? fallback = null;
        foreach (Root root in Roots(environment).Where(root => root.HasHosts))
        {
            if (DirectoriesOf(root, registry).FirstOrDefault() is not { } directory || TryRead(directory) is not { } file)
                continue;
            if (Path.GetFileName(directory) != DefaultName)
                return file;
            fallback ??= file;
        }
        return fallback;

        // An empty file counts as none.
        TomlFile? TryRead(string directory)
        {
            string path = Path.Combine(directory, HostsToml.FileName);
            try
            {
                return TomlFile.TryRead(path) is { } file && file.Keys.Any() ? file : null;
            }
            catch (ImageException e) when (e.InnerException?.InnerException is UnauthorizedAccessException)
            {
                note($"ignoring '{Printable.Of(path)}': this user may not read it");
                return null;
            }
        }
    }

    /// <param name="Path">A certs.d.</param>
    /// <param name="HasHosts">Its engine reads hosts.toml there.</param>
    /// <param name="HidesForHosts">A hosts.toml takes the place of the certificates beside it; the other engines read them too.</param>
    private sealed record Root(string Path, bool HasHosts, bool HidesForHosts);

    private static IEnumerable<Root> Roots(RegistryEnvironment environment)
        => from configuration in (string[])[environment.ConfigHome, Path.Combine(environment.Root, "etc")]
           from engine in s_engines
           select new Root(Path.Combine(configuration, engine.Name, "certs.d"), engine.HasHosts, engine.HidesForHosts);

    // Those that exist, the one that counts first. containerd writes a port as _PORT_ too, for file systems that have no colons in names.
    private static string[] DirectoriesOf(Root root, string host)
    {
        int colon = host.LastIndexOf(':');
        string[] names = colon > host.LastIndexOf(']') ? [$"{host[..colon]}_{host[(colon + 1)..]}_", host] : [host];
        string[] own = [.. names.Select(name => Path.Combine(root.Path, name)).Where(Directory.Exists)];
        string fallback = Path.Combine(root.Path, DefaultName);
        return own.Length > 0 ? own : root.HasHosts && Directory.Exists(fallback) ? [fallback] : [];
    }

    private static bool IsReadable(string file)
    {
        try
        {
            using FileStream opened = File.OpenRead(file);
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
        catch (IOException)
        {
            return true; // whoever reads it says why not
        }
    }

    private static string[] CertificatesOf(string directory, bool hidesForHosts)
    {
        try
        {
            var files = new DirectoryInfo(directory).GetFiles();
            return hidesForHosts && files.Any(file => file.Name == HostsToml.FileName && file.Length > 0) ? [] : [.. files.Select(file => file.FullName).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is DirectoryNotFoundException or UnauthorizedAccessException)
        {
            return [];
        }
        catch (IOException e)
        {
            throw new ImageException(ImageError.Local, $"cannot read the certificate directory '{Printable.Of(directory)}': {Files.FileProblem.Reason(e)}; correct its permissions", e);
        }
    }

    private static ImageException Half(string there, string missing)
        => new(ImageError.Local, $"cannot use the client certificate '{Printable.Of(there)}': it needs '{Printable.Of(Path.GetFileName(missing))}' beside it; add that file, or remove this one");
}
