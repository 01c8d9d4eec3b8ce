using LazyMount.Blobs.Counting;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Blobs.Registry.Hosts;

namespace LazyMount.Blobs.Registry;

/// <summary>How registries are reached, as far as the command line says; the rest is in files and variables of <see cref="Environment"/>.</summary>
public sealed record RegistryOptions
{
    /// <summary>Speak HTTP instead of HTTPS to registries. Loopback registries fall back to HTTP without it.</summary>
    public bool PlainHttp { get; init; }

    /// <summary>Check the TLS certificates of servers. False: whoever answers is believed, and <see cref="Sources.IBlobSource.IsVerified"/> becomes false.</summary>
    public bool VerifiesTls { get; init; } = true;

    /// <summary>A PEM file of certificates that are trusted as issuers besides those of the system. Absolute, or null.</summary>
    public string? TlsCaFile { get; init; }

    /// <summary>The only file of credentials to read. Absolute; null: the usual files.</summary>
    public string? AuthFile { get; init; }

    /// <summary>Credentials for the registry that the reference names, in the place of any file's. Never sent to a mirror.</summary>
    public Credentials? Credentials { get; init; }

    /// <summary>Mirrors that are asked before all others.</summary>
    public IReadOnlyList<MirrorOption> Mirrors { get; init; } = [];

    /// <summary>How long a reader of a file waits for bytes before its read fails.</summary>
    public TimeSpan ReadTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Told, in one line, what the user should know though nothing failed: a file that is ignored, a connection that proves nothing.</summary>
    public Action<string> Note { get; init; } = static _ => { };

    /// <summary>Where the bytes of answers are counted.</summary>
    public ServingCounters Counters { get; init; } = new();

    /// <summary>Where configuration is looked for.</summary>
    public RegistryEnvironment Environment { get; init; } = RegistryEnvironment.OfProcess;
}

/// <summary>A mirror that the command line names.</summary>
/// <param name="Registry">The registry in whose place it is asked, as references name it ("docker.io").</param>
/// <param name="Url">Where it is: scheme, host and perhaps a path.</param>
public sealed record MirrorOption(string Registry, Uri Url)
{
    /// <summary>Reads HOST=URL, where the URL's scheme may be left out for https.</summary>
    /// <exception cref="FormatException">It is something else; says so in a clause.</exception>
    public static MirrorOption Parse(string text)
    {
        string[] parts = text.Split('=', 2);
        string url = parts.Length < 2 || parts[1].Contains("://", StringComparison.Ordinal) ? parts[^1] : $"https://{parts[1]}";
        return parts.Length == 2 && parts[0].Length > 0 && !parts[0].Contains('/', StringComparison.Ordinal) && EndpointUrl.TryParse(url) is { } parsed
            ? new MirrorOption(DockerHub.NameOf(parts[0]), parsed)
            : throw new FormatException($"'{Printable.Of(parts.Length == 2 ? $"{parts[0]}={EndpointUrl.WithoutUserInfo(parts[1])}" : EndpointUrl.WithoutUserInfo(text))}' is not HOST=URL, such as docker.io=https://mirror.example; credentials come from docker login");
    }
}
