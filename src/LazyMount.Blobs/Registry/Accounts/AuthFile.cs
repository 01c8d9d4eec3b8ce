using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>
/// A file of credentials: docker's config.json, podman's auth.json (containers-auth.json(5)), the text of DOCKER_AUTH_CONFIG, or docker's
/// old ~/.dockercfg. Only what is for the repository is looked into: another registry's entry may be anything. What is for it and is not
/// of its form is told, in a clause without any of the file's content, and passed over.
/// </summary>
internal sealed class AuthFile
{
    // A file that is being written is short or empty for a moment.
    private const int Tries = 4;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);

    private readonly string _name;
    private readonly ReadOnlyMemory<byte> _auths, _credHelpers, _credsStore; // JSON; empty when they are missing

    private AuthFile(string name, ReadOnlyMemory<byte> json, bool isOld)
    {
        _name = name;
        AuthFileJson parts = GoJsonReader.Read<AuthFileJson>(json.Span, isOld ? AuthFileJson.ReadOld : AuthFileJson.Form.Read);
        _auths = json[parts.Auths];
        _credHelpers = json[parts.CredHelpers];
        _credsStore = json[parts.CredsStore];
    }

    /// <summary>Reads a file; null when there is none.</summary>
    /// <param name="path">Where it is.</param>
    /// <param name="name">What messages call it: its path with ~ for the home directory, or the variable.</param>
    /// <param name="isOld">It is as ~/.dockercfg: "auths" alone, without that name.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="InvalidDataException">It cannot be read; says why in a clause, without any of its content.</exception>
    public static async Task<AuthFile?> TryReadAsync(string path, string name, bool isOld, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return ConfigurationFile.TryRead(path) is { } bytes ? Parse(bytes, name, isOld) : null;
            }
            catch (InvalidDataException e) when (e.InnerException is JsonException && attempt < Tries)
            {
                await Task.Delay(s_pause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Reads a text.</summary>
    /// <exception cref="InvalidDataException">It cannot be read; says why in a clause, without any of its content.</exception>
    public static AuthFile Parse(ReadOnlyMemory<byte> json, string name, bool isOld = false)
    {
        if (json.Span.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
            json = json[3..];
        if (json.Span.Trim(" \t\r\n"u8).IsEmpty)
            throw new InvalidDataException("it is empty", new JsonException());
        try
        {
            return new AuthFile(name, json, isOld);
        }
        catch (JsonException e)
        {
            throw new InvalidDataException(ReasonOf(e, ""), e);
        }
    }

    /// <summary>
    /// The names of credential helpers that are to be asked for a repository, the most special first: credHelpers, then credsStore. An
    /// empty name in credHelpers stands for the file itself.
    /// </summary>
    public IEnumerable<(string Helper, string From)> HelpersFor(string registry, string repository, Action<string> ignored)
    {
        Dictionary<string, ReadOnlyMemory<byte>> helpers = EntriesOf(_credHelpers, "credHelpers", ignored);
        foreach (string key in AuthKeys.MatchesOf(helpers.Keys, registry, repository))
        {
            string? helper = Read(helpers[key], $"credHelpers.{key}", static (ref json) => json.ReadString(), ignored);
            if (helper is "")
                yield break;
            if (helper is not null)
                yield return (helper, $"credHelpers of {_name}");
        }
        if (Read(_credsStore, "credsStore", static (ref json) => json.ReadString(), ignored) is { Length: > 0 } store)
            yield return (store, $"credsStore of {_name}");
    }

    /// <summary>The entry of a repository that holds credentials, the longest key first; null when there is none.</summary>
    public (Credentials Credentials, string Key)? TryFind(string registry, string repository, Action<string> ignored)
    {
        Dictionary<string, ReadOnlyMemory<byte>> entries = EntriesOf(_auths, "auths", ignored);
        foreach (string key in AuthKeys.MatchesOf(entries.Keys, registry, repository))
        {
            if (Read(entries[key], $"auths.{key}", AuthJson.Form.Read, ignored) is { } entry && CredentialsOf(entry, key, ignored) is { } credentials)
                return (credentials, key);
        }
        return null;
    }

    /// <summary>The registries and namespaces that it has entries for, and the credential helpers that it names.</summary>
    public (IReadOnlyList<string> Registries, IReadOnlyList<string> Helpers) Keys(Action<string> ignored)
    {
        Dictionary<string, ReadOnlyMemory<byte>> helpers = EntriesOf(_credHelpers, "credHelpers", ignored);
        IEnumerable<string?> named = helpers.Select(each => Read(each.Value, $"credHelpers.{each.Key}", static (ref json) => json.ReadString(), ignored))
            .Append(Read(_credsStore, "credsStore", static (ref json) => json.ReadString(), ignored));
        return ([.. EntriesOf(_auths, "auths", ignored).Keys.Concat(helpers.Keys).Distinct()], [.. named.OfType<string>().Where(name => name.Length > 0).Distinct()]);
    }

    private static Dictionary<string, ReadOnlyMemory<byte>> EntriesOf(ReadOnlyMemory<byte> json, string place, Action<string> ignored)
        => Read(json, place, (ref map) => map.ReadMap((ref each) => json[each.ReadRange()]), ignored) ?? [];

    // Null: it is missing, or not of its form.
    private static T? Read<T>(ReadOnlyMemory<byte> json, string place, GoValue<T> read, Action<string> ignored)
        where T : class?
    {
        if (json.IsEmpty)
            return null;
        try
        {
            return GoJsonReader.Read(json.Span, read);
        }
        catch (JsonException e)
        {
            ignored(ReasonOf(e, place));
            return null;
        }
    }

    // Only the place: the text around a JSON error may be a secret.
    private static string ReasonOf(JsonException e, string place)
        => string.Join('.', new[] { place, e.Path }.Where(part => !string.IsNullOrEmpty(part))) is { Length: > 0 } path ? $"its JSON is wrong at {Printable.Of(path)}" : e.Message;

    private static Credentials? CredentialsOf(AuthJson entry, string key, Action<string> ignored)
    {
        Credentials credentials = new(entry.Username, entry.Password);
        if (entry.Auth.Length > 0)
        {
            byte[] bytes = new byte[entry.Auth.Length];
            if (!Convert.TryFromBase64String(entry.Auth.Trim(), bytes, out int length) || Credentials.Parse(Encoding.UTF8.GetString(bytes, 0, length)) is not { } pair)
            {
                ignored($"the \"auth\" of its entry '{Printable.Of(key)}' is not NAME:PASSWORD in base64");
                return null;
            }
            credentials = pair with { Password = pair.Password.TrimEnd('\0') };
        }
        credentials = credentials with
        {
            IdentityToken = TokenOf(entry.IdentityToken, "identitytoken"),
            RegistryToken = TokenOf(entry.RegistryToken, "registrytoken"),
        };
        return credentials is { UserName: "", IdentityToken: null, RegistryToken: null } ? null : credentials;

        string? TokenOf(string token, string name)
        {
            if (token.Length == 0 || Credentials.IsToken(token))
                return token.Length == 0 ? null : token;
            ignored($"the \"{name}\" of its entry '{Printable.Of(key)}' has spaces, line ends or other characters that no token has");
            return null;
        }
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

/// <summary>Where the parts of a file of credentials stand in it; empty when they are missing.</summary>
internal sealed class AuthFileJson
{
    public static GoStruct<AuthFileJson> Form { get; } = new(
        ("auths", (ref json, to) => to.Auths = json.ReadRange()),
        ("credHelpers", (ref json, to) => to.CredHelpers = json.ReadRange()),
        ("credsStore", (ref json, to) => to.CredsStore = json.ReadRange()));

    public Range Auths { get; private set; }

    public Range CredHelpers { get; private set; }

    public Range CredsStore { get; private set; }

    /// <summary>Reads the old file ~/.dockercfg, whose whole content is an "auths" object.</summary>
    public static AuthFileJson ReadOld(ref GoJsonReader json) => new() { Auths = json.ReadRange() };
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
