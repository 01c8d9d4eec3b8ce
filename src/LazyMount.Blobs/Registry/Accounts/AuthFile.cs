using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>A file of credentials: docker's config.json, podman's auth.json (containers-auth.json(5)), or the text of DOCKER_AUTH_CONFIG.</summary>
internal sealed class AuthFile
{
    // A file that is being written is short or empty for a moment.
    private const int Tries = 4;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);

    private readonly AuthFileJson _json;

    private AuthFile(string name, AuthFileJson json) => (Name, _json) = (name, json);

    /// <summary>What messages call it: its path with ~ for the home directory, or the variable.</summary>
    public string Name { get; }

    /// <summary>Reads a file; null when there is none.</summary>
    /// <exception cref="InvalidDataException">It cannot be read; says why in a clause, without any of its content.</exception>
    public static async Task<AuthFile?> TryReadAsync(string path, string name, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return ConfigurationFile.TryRead(path) is { } bytes ? Parse(bytes, name) : null;
            }
            catch (InvalidDataException e) when (e.InnerException is JsonException && attempt < Tries)
            {
                await Task.Delay(s_pause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Reads a text.</summary>
    /// <exception cref="InvalidDataException">It cannot be read; says why in a clause, without any of its content.</exception>
    public static AuthFile Parse(ReadOnlySpan<byte> json, string name)
    {
        if (json.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
            json = json[3..];
        if (json.Trim(" \t\r\n"u8).IsEmpty)
            throw new InvalidDataException("it is empty", new JsonException());
        try
        {
            return new AuthFile(name, GoJsonReader.Read(json, AuthFileJson.Form.Read));
        }
        catch (JsonException e)
        {
            // Only the place: the text around a JSON error may be a secret.
            throw new InvalidDataException(e.Path is { Length: > 0 } place ? $"its JSON is wrong at {Printable.Of(place)}" : e.Message, e);
        }
    }

    /// <summary>
    /// The names of credential helpers that are to be asked for a repository, the most special first: credHelpers, then credsStore.
    /// </summary>
    public IEnumerable<(string Helper, string From)> HelpersFor(string registry, string repository)
    {
        foreach (string key in AuthKeys.MatchesOf(_json.CredHelpers.Keys, registry, repository))
        {
            if (_json.CredHelpers[key].Length > 0)
                yield return (_json.CredHelpers[key], $"credHelpers of {Name}");
        }
        if (_json.CredsStore.Length > 0)
            yield return (_json.CredsStore, $"credsStore of {Name}");
    }

    /// <summary>The entry of a repository that holds credentials, the longest key first; null when there is none.</summary>
    /// <exception cref="InvalidDataException">The entry is malformed; says so in a clause.</exception>
    public (Credentials Credentials, string Key)? TryFind(string registry, string repository)
    {
        foreach (string key in AuthKeys.MatchesOf(_json.Auths.Keys, registry, repository))
        {
            if (Read(_json.Auths[key], key) is { } credentials)
                return (credentials, key);
        }
        return null;
    }

    private static Credentials? Read(AuthJson entry, string key)
    {
        Credentials? credentials = new(entry.Username, entry.Password);
        if (entry.Auth.Length > 0)
        {
            byte[] bytes = new byte[entry.Auth.Length];
            if (!Convert.TryFromBase64String(entry.Auth.Trim(), bytes, out int length) || Credentials.Parse(Encoding.UTF8.GetString(bytes, 0, length)) is not { } pair)
                throw new InvalidDataException($"the \"auth\" of its entry {Printable.Of(key)} does not hold NAME:PASSWORD in base64");
            credentials = pair with { Password = pair.Password.TrimEnd('\0') };
        }
        if (entry.IdentityToken.Length > 0)
            credentials = credentials with { IdentityToken = entry.IdentityToken };
        if (entry.RegistryToken.Length > 0)
            credentials = credentials with { RegistryToken = entry.RegistryToken };
        return credentials is { UserName: "", IdentityToken: null, RegistryToken: null } ? null : credentials;
    }
}

/// <summary>Which keys of a file of credentials are for a repository.</summary>
internal static class AuthKeys
{
    /// <summary>
    /// The keys that match, in the order in which they count (containers-auth.json(5)): the longest namespace first ("host/team/app",
    /// "host/team", "host"), the plain spelling before docker's older ones with a scheme or a path ("https://host/v1/"), then wildcards.
    /// </summary>
    public static IEnumerable<string> MatchesOf(IEnumerable<string> keys, string registry, string repository)
        => keys.Select(key => (Key: key, Rank: RankOf(key, registry, repository))).Where(each => each.Rank is not null)
            .OrderByDescending(each => each.Rank!.Value.Length).ThenBy(each => each.Rank!.Value.Spelling).Select(each => each.Key);

    // How long the namespace is that matches, and how usual the spelling; null when the key is for something else.
    private static (int Length, int Spelling)? RankOf(string key, string registry, string repository)
    {
        int scheme = key.IndexOf("://", StringComparison.Ordinal);
        string rest = scheme < 0 ? key : key[(scheme + 3)..];
        int slash = rest.IndexOf('/', StringComparison.Ordinal);
        string host = slash < 0 ? rest : rest[..slash], space = slash < 0 ? "" : rest[(slash + 1)..].TrimEnd('/');
        bool isOld = scheme >= 0 || space is "v1" or "v2" || (slash >= 0 && space.Length == 0);
        if (isOld)
            space = "";
        if (!IsHost(host, registry, scheme >= 0 && key.StartsWith("http://", StringComparison.OrdinalIgnoreCase) ? 80 : 443, out int spelling))
            return null;
        if (space.Length > 0 && space != repository && !repository.StartsWith(space + "/", StringComparison.Ordinal))
            return null;
        // A wildcard is less than any name that is written out.
        return (spelling == 3 ? -1 : space.Length, isOld ? 2 : spelling);
    }

    private static bool IsHost(string host, string registry, int defaultPort, out int spelling)
    {
        spelling = 0;
        if (host == registry)
            return true;
        spelling = 1;
        string bareHost = WithoutPort(host, defaultPort), bareRegistry = WithoutPort(registry, 443);
        if (bareHost.Equals(bareRegistry, StringComparison.OrdinalIgnoreCase)
            || (DockerHub.Is(bareHost.ToLowerInvariant()) && DockerHub.Is(bareRegistry.ToLowerInvariant())))
        {
            return true;
        }
        spelling = 3;
        return host.Contains('*', StringComparison.Ordinal) && IsLike(bareHost.ToLowerInvariant(), bareRegistry.ToLowerInvariant());
    }

    private static string WithoutPort(string host, int port) => host.EndsWith($":{port}", StringComparison.Ordinal) ? host[..^$":{port}".Length] : host;

    // A star stands for a part of one label.
    private static bool IsLike(string pattern, string host)
    {
        string[] labels = pattern.Split('.'), parts = host.Split('.');
        return labels.Length == parts.Length && labels.Zip(parts).All(each => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(each.First, each.Second, ignoreCase: false));
    }
}

/// <summary>A file of credentials, as far as it is read.</summary>
internal sealed class AuthFileJson
{
    public static GoStruct<AuthFileJson> Form { get; } = new(
        ("auths", (ref json, to) => to.Auths = json.ReadMap(AuthJson.Form.Read) ?? []),
        ("credHelpers", (ref json, to) => to.CredHelpers = json.ReadMap((ref each) => each.ReadString()) ?? []),
        ("credsStore", (ref json, to) => to.CredsStore = json.ReadString()));

    public IReadOnlyDictionary<string, AuthJson> Auths { get; private set; } = new Dictionary<string, AuthJson>();

    public IReadOnlyDictionary<string, string> CredHelpers { get; private set; } = new Dictionary<string, string>();

    public string CredsStore { get; private set; } = "";
}

/// <summary>What a file of credentials says of one registry or namespace.</summary>
internal sealed class AuthJson
{
    public static GoStruct<AuthJson> Form { get; } = new(
        ("auth", (ref json, to) => to.Auth = json.ReadString()),
        ("username", (ref json, to) => to.Username = json.ReadString()),
        ("password", (ref json, to) => to.Password = json.ReadString()),
        ("identitytoken", (ref json, to) => to.IdentityToken = json.ReadString()),
        ("registrytoken", (ref json, to) => to.RegistryToken = json.ReadString()));

    public string Auth { get; private set; } = "";

    public string Username { get; private set; } = "";

    public string Password { get; private set; } = "";

    public string IdentityToken { get; private set; } = "";

    public string RegistryToken { get; private set; } = "";
}
