using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>
/// podman's registries.conf (containers-registries.conf(5)): prefixes that are rewritten, mirrored, blocked or not verified. Short names are
/// none of its business here: they always mean Docker Hub. Read as containers/image 5.40 reads it (pkg/sysregistriesv2), but a prefix
/// with a tag or a digest counts as that manual page says, and an entry without a location stands for its prefix.
/// </summary>
internal sealed class RegistriesConf
{
    private const string Wanted = "HOST[:PORT][/NAMESPACE]";

    private static readonly string[] s_keysOfVersion2 = ["registry", "unqualified-search-registries", "credential-helpers", "short-name-mode", "additional-layer-store-auth-helper", "aliases"];

    // By prefix, in byte order: of two prefixes of one length the first counts.
    private readonly SortedDictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <param name="Prefix">HOST[:PORT][/NAMESPACE…][:TAG|@DIGEST] or *.DOMAIN.</param>
    /// <param name="Upstream">What takes the prefix's place.</param>
    /// <param name="Mirrors">What may take the prefix's place, asked before.</param>
    /// <param name="IsBlocked">Nothing is asked.</param>
    private sealed record Entry(string Prefix, Location Upstream, IReadOnlyList<Location> Mirrors, bool IsBlocked);

    /// <param name="Table">The table that holds it.</param>
    /// <param name="Key">The key there.</param>
    /// <param name="Text">HOST[:PORT][/NAMESPACE…][:TAG|@DIGEST]; empty: the reference stays as it is.</param>
    /// <param name="IsInsecure">Its certificate is not checked, and it may speak plain HTTP.</param>
    /// <param name="When">Which references it is for: all, digest-only or tag-only.</param>
    private sealed record Location(TomlFile Table, string Key, string Text, bool IsInsecure, string When = "all");

    /// <summary>
    /// Reads the files in force: the file that a variable names, else the user's, else the system's; then the drop-ins of the system and of
    /// the user, or the user's alone beside the user's file. A later file replaces the entries of an earlier one that have the same prefix.
    /// </summary>
    /// <exception cref="ImageException">A file cannot be used.</exception>
    public static RegistriesConf Read(RegistryEnvironment environment)
    {
        var conf = new RegistriesConf();
        string system = Path.Combine(environment.Root, "etc/containers/registries.conf"), user = Path.Combine(environment.ConfigHome, "containers/registries.conf");
        string[] directories = [system + ".d", user + ".d"];
        if (Array.Find(["CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"], name => environment.Variable(name) is { Length: > 0 }) is { } variable)
        {
            string path = environment.Variable(variable)!;
            conf.Add(TomlFile.TryRead(path) ?? throw new ImageException(ImageError.Local, $"cannot read the configuration file '{Printable.Of(path)}' that {variable} names: there is no such file; correct or unset the variable"), isDropIn: false);
        }
        else if (TomlFile.TryRead(user) is { } own)
        {
            conf.Add(own, isDropIn: false);
            directories = [user + ".d"];
        }
        else if (TomlFile.TryRead(system) is { } main)
        {
            conf.Add(main, isDropIn: false);
        }
        foreach (string path in directories.SelectMany(DropIns))
        {
            if (TomlFile.TryRead(path) is { } file)
                conf.Add(file, isDropIn: true);
        }
        return conf;
    }

    /// <summary>The places for a reference, mirrors first; null when no entry is for it.</summary>
    /// <param name="reference">An image of a registry.</param>
    /// <param name="place">Makes the endpoint of a repository.</param>
    /// <exception cref="ImageException">The registry is blocked, or the reference cannot be rewritten.</exception>
    public IReadOnlyList<RegistryEndpoint>? Find(ImageReference reference, Func<ImageReference, RegistryEndpoint> place)
    {
        (Entry? entry, string text, int length) = (null, "", 0);
        // The digest wins over the tag, so a prefix may leave the tag out.
        foreach (string name in (string[])[reference.ToString(), .. reference.Digest is { } digest ? new[] { reference.WithDigest(digest).ToString() } : []])
        {
            foreach (Entry each in _entries.Values)
            {
                if (Match(each.Prefix, name) is { } matched && each.Prefix.Length > (entry?.Prefix.Length ?? 0))
                    (entry, text, length) = (each, name, matched);
            }
        }
        if (entry is null)
            return null;
        if (entry.IsBlocked)
            throw new ImageException(ImageError.Denied, $"cannot get '{reference}': '{Printable.Of(entry.Upstream.Table.Path)}' blocks '{Printable.Of(entry.Prefix)}'; remove \"blocked\" there, or use another image");
        string when = reference.Digest is null ? "tag-only" : "digest-only";
        return
        [
            .. entry.Mirrors.Where(mirror => mirror.When == "all" || mirror.When == when).Select(mirror => At(mirror) with { IsMirror = true, CanPush = false }),
            At(entry.Upstream),
        ];

        RegistryEndpoint At(Location location)
        {
            RegistryEndpoint endpoint = place(location.Text.Length == 0 ? reference : Rewrite(reference, text, length, location)) with { Origin = location.Table.Path };
            return location.IsInsecure
                ? endpoint with { PlainRoot = endpoint.Root.Scheme == Uri.UriSchemeHttps ? EndpointUrl.WithScheme(endpoint.Root, "http", location.Text.Length == 0 ? endpoint.Host : location.Text) : null, Tls = endpoint.Tls with { IsVerified = false } }
                : endpoint;
        }
    }

    // A location without a tag and a digest keeps those of the reference, also where the prefix stands for them.
    private static ImageReference Rewrite(ImageReference reference, string text, int length, Location location)
    {
        CheckPlace(location.Table, location.Key, location.Text);
        string rewritten = location.Text + text[length..];
        if (length > reference.Place.Length && !rewritten.Contains('@', StringComparison.Ordinal) && rewritten.LastIndexOf(':') < rewritten.LastIndexOf('/'))
            rewritten += text[reference.Place.Length..];
        ImageReference parsed = ImageReference.TryParseFull(rewritten)
            ?? throw location.Table.Wrong(location.Key, $"a location for '{reference}': '{Shown(rewritten)}' is not an image reference");
        return parsed.Digest == reference.Digest && (parsed.Digest is not null || parsed.Tag == reference.Tag)
            ? parsed : throw location.Table.Wrong(location.Key, $"a location for '{reference}': '{Shown(rewritten)}' has another tag or digest, which is not supported");
    }

    // How much of the reference the prefix stands for; null when it is for something else. "example.com" is also for its ports, as in containers/image.
    private static int? Match(string prefix, string reference)
    {
        int end = prefix.Length;
        if (prefix.StartsWith("*.", StringComparison.Ordinal))
        {
            int at = reference.IndexOf(prefix[1..], StringComparison.Ordinal);
            if (at < 0 || reference.AsSpan(0, at).Contains('/'))
                return null;
            end = at + prefix.Length - 1;
        }
        else if (!reference.StartsWith(prefix, StringComparison.Ordinal))
        {
            return null;
        }
        return end == reference.Length || reference[end] is '/' or ':' or '@' ? end : null;
    }

    // Of two entries with one prefix the first in the file counts.
    private void Add(TomlFile file, bool isDropIn)
    {
        var entries = new List<Entry>();
        foreach (TomlFile table in file.Tables("registry"))
        {
            Entry entry = Read(table);
            foreach (Entry other in entries.Where(other => other.Upstream.Text == entry.Upstream.Text && entry.Upstream.Text.Length > 0))
            {
                if (other.IsBlocked != entry.IsBlocked || other.Upstream.IsInsecure != entry.Upstream.IsInsecure)
                    throw table.Wrong(other.IsBlocked != entry.IsBlocked ? "blocked" : "insecure", $"the same in all tables with the location '{Shown(entry.Upstream.Text)}'");
            }
            entries.Add(entry);
        }
        entries.AddRange(ReadVersion1(file, isDropIn));
        foreach (Entry entry in entries.DistinctBy(entry => entry.Prefix))
            _entries[entry.Prefix] = entry;
    }

    private static Entry Read(TomlFile table)
    {
        string location = TextOf(table, "location"), prefix = TextOf(table, "prefix"), key = prefix.Length > 0 ? "prefix" : "location";
        if (prefix.Length == 0)
            prefix = location.Length > 0 ? location : throw table.Wrong(key, "set, and neither is prefix");
        bool isWildcard = prefix.StartsWith("*.", StringComparison.Ordinal);
        if (!table.Has("location") && !isWildcard)
            location = prefix;
        if (isWildcard && prefix.AsSpan().ContainsAny('/', ':', '@'))
            throw table.Wrong("prefix", $"*.DOMAIN without a port and a namespace: it is '{Shown(prefix)}'");
        CheckPlace(table, key, isWildcard ? prefix[2..] : prefix); // a wrong one would never match
        if (location.Length > 0 || !isWildcard)
            CheckForm(table, "location", location);
        if (table.Text("pull-from-mirror") is { Length: > 0 })
            throw table.Wrong("pull-from-mirror", "allowed for a registry, only for its mirrors");
        bool byDigestOnly = table.Flag("mirror-by-digest-only");
        return new Entry(
            prefix,
            new Location(table, "location", location, table.Flag("insecure")),
            [.. table.Tables("mirror").Select(mirror => ReadMirror(mirror, byDigestOnly))],
            table.Flag("blocked"));
    }

    private static Location ReadMirror(TomlFile table, bool byDigestOnly)
    {
        string location = TextOf(table, "location"), when = table.Text("pull-from-mirror") ?? "";
        CheckForm(table, "location", location);
        if (when is not ("" or "all" or "digest-only" or "tag-only"))
            throw table.Wrong("pull-from-mirror", "all, digest-only or tag-only");
        if (when.Length > 0 && byDigestOnly)
            throw table.Wrong("pull-from-mirror", "allowed beside mirror-by-digest-only");
        return new Location(table, "location", location, table.Flag("insecure"), when.Length > 0 ? when : byDigestOnly ? "digest-only" : "all");
    }

    // Version 1 has lists of hosts: what is searched for short names, insecure, and blocked.
    private static IEnumerable<Entry> ReadVersion1(TomlFile file, bool isDropIn)
    {
        TomlFile? lists = file.Table("registries");
        if (Array.Find(["search", "insecure", "block"], kind => lists?.Table(kind)?.Has("registries") == true) is not { } found)
            return [];
        if (isDropIn)
            throw lists!.Wrong(found, "allowed in a drop-in file, because it belongs to version 1 of the format: write [[registry]] tables");
        if (Array.Find(s_keysOfVersion2, file.Has) is { } key)
            throw lists!.Wrong(found, $"allowed beside {key}, because it belongs to version 1 of the format: write [[registry]] tables");
        List<Location> insecure = HostsOf("insecure"), blocked = HostsOf("block");
        return insecure.Concat(blocked).Select(host => new Entry(host.Text, host with { IsInsecure = insecure.Exists(other => other.Text == host.Text) }, [], blocked.Exists(other => other.Text == host.Text)));

        List<Location> HostsOf(string kind)
        {
            if (lists!.Table(kind) is not { } table)
                return [];
            List<Location> hosts = [.. table.Texts("registries").Select(host => new Location(table, "registries", host.TrimEnd('/'), IsInsecure: false))];
            hosts.ForEach(host => CheckPlace(table, "registries", host.Text));
            return hosts;
        }
    }

    private static string TextOf(TomlFile table, string key) => table.Text(key)?.TrimEnd('/') ?? "";

    // What makes the whole file wrong, also in entries that are not for the image.
    private static void CheckForm(TomlFile table, string key, string text)
    {
        if (text.IndexOf("://", StringComparison.Ordinal) is >= 0 and int scheme)
            throw table.Wrong(key, $"{Wanted}: leave out '{Printable.Of(text[..(scheme + 3)])}' in '{Shown(text)}'");
        if (text.Length == 0)
            throw table.Wrong(key, $"{Wanted}: it is empty");
    }

    private static void CheckPlace(TomlFile table, string key, string text)
    {
        CheckForm(table, key, text);
        if (ImageReference.TryParseFull(text.Contains('/') ? text : $"{text}/x") is null)
            throw table.Wrong(key, $"{Wanted} with a port from 1 to 65535 and a namespace in lower case: it is '{Shown(text)}'");
    }

    private static string Shown(string text) => Printable.Of(EndpointUrl.WithoutUserInfo(text));

    // Neither directories below nor a link to a directory are entered.
    private static IEnumerable<string> DropIns(string directory)
    {
        try
        {
            return (File.GetAttributes(directory) & (FileAttributes.Directory | FileAttributes.ReparsePoint)) != FileAttributes.Directory ? []
                : Directory.GetFileSystemEntries(directory, "*.conf").Where(path => FileIdentity.TryOf(path, followsLinks: false)?.Kind != FileKind.Directory).Order(StringComparer.Ordinal);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return [];
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new ImageException(ImageError.Local, $"cannot read the directory '{Printable.Of(directory)}': {FileProblem.Reason(e)}; correct its permissions", e);
        }
    }
}
