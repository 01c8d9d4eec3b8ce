using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>
/// podman's registries.conf, version 2 (containers-registries.conf(5)): prefixes that are rewritten, mirrored, blocked or not verified. Short
/// names are none of its business here: they always mean Docker Hub.
/// </summary>
internal sealed class RegistriesConf
{
    private readonly List<Entry> _entries = [];

    /// <param name="Prefix">HOST[:PORT][/NAMESPACE…] or *.DOMAIN.</param>
    /// <param name="Table">The rest.</param>
    private sealed record Entry(string Prefix, TomlFile Table);

    /// <summary>Reads the files in force: $CONTAINERS_REGISTRIES_CONF alone, or the user's file else the system's with both directories of drop-ins.</summary>
    /// <exception cref="ImageException">A file cannot be used.</exception>
    public static RegistriesConf Read(RegistryEnvironment environment)
    {
        var conf = new RegistriesConf();
        if (environment.Variable("CONTAINERS_REGISTRIES_CONF") is { Length: > 0 } named)
        {
            conf.Add(TomlFile.TryRead(named) ?? throw new ImageException(ImageError.Local, $"There is no file {Printable.Of(named)}, which CONTAINERS_REGISTRIES_CONF names: correct or unset the variable."));
            return conf;
        }
        string system = Path.Combine(environment.Root, "etc/containers"), user = Path.Combine(environment.ConfigHome, "containers");
        if ((TomlFile.TryRead(Path.Combine(user, "registries.conf")) ?? TomlFile.TryRead(Path.Combine(system, "registries.conf"))) is { } main)
            conf.Add(main);
        foreach (string directory in (string[])[system, user])
        {
            foreach (string file in FilesOf(Path.Combine(directory, "registries.conf.d")))
                conf.Add(TomlFile.TryRead(file));
        }
        return conf;
    }

    /// <summary>The places for a reference, mirrors first; null when no entry is for it.</summary>
    /// <param name="reference">An image of a registry.</param>
    /// <param name="place">Makes the endpoint of HOST[:PORT]/REPOSITORY.</param>
    /// <exception cref="ImageException">The registry is blocked, or a value is wrong.</exception>
    public IReadOnlyList<RegistryEndpoint>? Find(ImageReference reference, Func<string, RegistryEndpoint> place)
    {
        string name = $"{reference.Location}/{reference.Repository}";
        (Entry? entry, int length) = (null, 0);
        foreach (Entry each in _entries)
        {
            if (Match(each.Prefix, name) is { } matched && (entry is null || each.Prefix.Length > entry.Prefix.Length))
                (entry, length) = (each, matched);
        }
        if (entry is null)
            return null;
        if (entry.Table.Flag("blocked"))
            throw new ImageException(ImageError.Denied, $"{Printable.Of(entry.Table.Path)} blocks {Printable.Of(entry.Prefix)}, so {reference} is not asked for: take \"blocked\" away there, or use another image.");
        string rest = name[length..];
        var endpoints = new List<RegistryEndpoint>();
        bool byDigestOnly = entry.Table.Flag("mirror-by-digest-only");
        foreach (TomlFile mirror in entry.Table.Tables("mirror"))
        {
            string when = mirror.Text("pull-from-mirror") is { Length: > 0 } said ? said : byDigestOnly ? "digest-only" : "all";
            if (when is not ("all" or "digest-only" or "tag-only"))
                throw mirror.Wrong("pull-from-mirror", "all, digest-only or tag-only");
            if (when == "all" || (when == "digest-only") == (reference.Digest is not null))
                endpoints.Add(Place(mirror, mirror.Text("location") ?? throw mirror.Wrong("location", "there"), rest, place) with { IsMirror = true, CanPush = false });
        }
        string location = entry.Table.Text("location") is { Length: > 0 } given ? given : name[..length];
        endpoints.Add(Place(entry.Table, location, rest, place));
        return endpoints;
    }

    private static RegistryEndpoint Place(TomlFile table, string location, string rest, Func<string, RegistryEndpoint> place)
    {
        RegistryEndpoint endpoint = place(location.TrimEnd('/') + rest);
        return table.Flag("insecure")
            ? endpoint with { FallsBackToHttp = endpoint.Root.Scheme == Uri.UriSchemeHttps, Tls = endpoint.Tls with { IsVerified = false }, Origin = table.Path }
            : endpoint with { Origin = table.Path };
    }

    // How much of the name the prefix stands for; null when it is for something else.
    private static int? Match(string prefix, string name)
    {
        if (prefix.StartsWith("*.", StringComparison.Ordinal))
        {
            int slash = name.IndexOf('/', StringComparison.Ordinal);
            string host = name[..slash];
            int port = host.LastIndexOf(':');
            return (port < 0 ? host : host[..port]).EndsWith(prefix[1..], StringComparison.OrdinalIgnoreCase) || host.EndsWith(prefix[1..], StringComparison.OrdinalIgnoreCase) ? slash : null;
        }
        return name.StartsWith(prefix, StringComparison.Ordinal) && (name.Length == prefix.Length || name[prefix.Length] == '/') ? prefix.Length : null;
    }

    // What a later file says of a prefix takes the place of what an earlier one said.
    private void Add(TomlFile? file)
    {
        foreach (TomlFile table in file?.Tables("registry") ?? [])
        {
            string prefix = (table.Text("prefix") is { Length: > 0 } given ? given : table.Text("location") ?? throw table.Wrong("location", "there, and neither is a prefix")).TrimEnd('/');
            if (prefix.Contains("://", StringComparison.Ordinal) || prefix.Length == 0)
                throw table.Wrong("prefix", "HOST[:PORT][/NAMESPACE], without a scheme");
            _entries.RemoveAll(entry => entry.Prefix == prefix && entry.Table.Path != table.Path);
            _entries.Add(new Entry(prefix, table));
        }
    }

    private static IEnumerable<string> FilesOf(string directory)
    {
        try
        {
            return Directory.GetFiles(directory, "*.conf").Order(StringComparer.Ordinal);
        }
        catch (Exception e) when (e is DirectoryNotFoundException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
