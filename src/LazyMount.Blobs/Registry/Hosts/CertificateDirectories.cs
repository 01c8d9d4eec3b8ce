using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>
/// Directories of certificates for one host (docker's, podman's and containerd's certs.d/HOST[:PORT]): *.crt are issuers that are trusted, *.cert
/// and *.key of one name are a client certificate and its key.
/// </summary>
internal static class CertificateDirectories
{
    /// <summary>What all directories of a host hold together.</summary>
    /// <exception cref="ImageException">A directory holds half a pair.</exception>
    public static EndpointTls Find(RegistryEnvironment environment, string host)
    {
        var authorities = new List<string>();
        var pairs = new List<ClientCertificateFiles>();
        string[] names = host == DockerHub.Name ? [DockerHub.Name, DockerHub.Host] : [host];
        foreach (string directory in Roots(environment).SelectMany(root => names.Select(name => Path.Combine(root, name))))
        {
            string[] files = FilesOf(directory);
            authorities.AddRange(files.Where(file => file.EndsWith(".crt", StringComparison.Ordinal)));
            foreach (string file in files.Where(file => file.EndsWith(".cert", StringComparison.Ordinal)))
            {
                string key = Path.ChangeExtension(file, ".key");
                pairs.Add(files.Contains(key) ? new ClientCertificateFiles(file, key) : throw Half(file, key));
            }
            foreach (string key in files.Where(file => file.EndsWith(".key", StringComparison.Ordinal)))
            {
                if (!files.Contains(Path.ChangeExtension(key, ".cert")))
                    throw Half(key, Path.ChangeExtension(key, ".cert"));
            }
        }
        return new EndpointTls { CaFiles = authorities, ClientCertificates = pairs };
    }

    private static IEnumerable<string> Roots(RegistryEnvironment environment)
    {
        foreach (string engine in (string[])["docker", "containers", "containerd"])
        {
            yield return Path.Combine(environment.Root, "etc", engine, "certs.d");
            yield return Path.Combine(environment.ConfigHome, engine, "certs.d");
        }
    }

    private static string[] FilesOf(string directory)
    {
        try
        {
            string[] files = Directory.GetFiles(directory);
            // What is there for containerd with a hosts.toml is named by it.
            return files.Any(file => Path.GetFileName(file) == HostsToml.FileName) ? [] : [.. files.Order(StringComparer.Ordinal)];
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new ImageException(ImageError.Local, $"The directory of certificates {Printable.Of(directory)} cannot be read: {Files.FileProblem.Reason(e)}.", e);
        }
    }

    private static ImageException Half(string there, string missing)
        => new(ImageError.Local, $"The client certificate {Printable.Of(there)} is half a pair: put {Printable.Of(Path.GetFileName(missing))} beside it, or remove it.");
}
