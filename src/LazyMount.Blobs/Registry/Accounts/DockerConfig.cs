using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>Credentials out of docker's config.json, <c>auths</c>.</summary>
internal static class DockerConfig
{
    private const int MaxSize = 4 << 20;

    /// <summary>The credentials for a registry ("docker.io" for Docker Hub), or null. A file that cannot be read is logged and counts as none.</summary>
    public static Credentials? Find(string directory, string registry, ILogger logger)
    {
        string path = PathText.ForCalls(Path.Combine(directory, "config.json"));
        try
        {
            var file = new FileInfo(path);
            if (!file.Exists)
                return null;
            if (file.Length > MaxSize)
                throw new JsonException("it is too large");
            return Find(GoJsonReader.Read(File.ReadAllBytes(path), DockerConfigJson.Form.Read).Auths, registry);
        }
        catch (Exception e) when (e is JsonException or FormatException or IOException or UnauthorizedAccessException)
        {
            // Only the place: the text around a JSON error may be a secret.
            logger.CredentialsIgnored(path, e is JsonException { Path.Length: > 0 } wrong ? $"its JSON is wrong at {Printable.Of(wrong.Path)}" : e.Message);
            return null;
        }
    }

    private static Credentials? Find(IReadOnlyDictionary<string, DockerAuthJson> auths, string registry)
    {
        // An exact key first; then the older spellings with a scheme and a path.
        if (auths.TryGetValue(registry, out DockerAuthJson? exact) && Read(exact) is { } credentials)
            return credentials;
        foreach ((string key, DockerAuthJson auth) in auths)
        {
            if (HostOf(key) == registry && Read(auth) is { } found)
                return found;
        }
        return null;
    }

    private static string HostOf(string key)
    {
        int scheme = key.IndexOf("://", StringComparison.Ordinal);
        string host = scheme < 0 ? key : key[(scheme + 3)..];
        int slash = host.IndexOf('/');
        host = slash < 0 ? host : host[..slash];
        return host is "index.docker.io" or "registry-1.docker.io" ? "docker.io" : host;
    }

    private static Credentials? Read(DockerAuthJson entry)
    {
        (string user, string password) = (entry.Username, entry.Password);
        if (entry.Auth.Length > 0)
        {
            string pair = Encoding.UTF8.GetString(Convert.FromBase64String(entry.Auth));
            int colon = pair.IndexOf(':');
            if (colon < 0)
                throw new FormatException($"an \"auth\" does not hold NAME:PASSWORD in base64");
            (user, password) = (pair[..colon], pair[(colon + 1)..].TrimEnd('\0'));
        }
        string? identityToken = entry.IdentityToken.Length == 0 ? null : entry.IdentityToken;
        return user.Length == 0 && identityToken is null ? null : new Credentials(user, password, identityToken);
    }
}
