using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>What the user's configuration holds for one repository.</summary>
/// <param name="Credentials">Null: none.</param>
/// <param name="Account">A clause for sentences: where they came from, or what was looked at and what to do.</param>
internal sealed record FoundCredentials(Credentials? Credentials, string Account)
{
    /// <summary>Helper programs were run to find out: not to be asked too often.</summary>
    public bool IsFromHelpers { get; init; }
}

/// <summary>
/// Finds credentials where docker, podman and their kin keep them. In order: those of the command line, for the registry that the reference
/// names; the file of --authfile or REGISTRY_AUTH_FILE, and then no other; the text in DOCKER_AUTH_CONFIG; podman's auth.json in
/// $XDG_RUNTIME_DIR/containers (/run/containers/UID without the variable) and in $XDG_CONFIG_HOME/containers; docker's config.json
/// in $DOCKER_CONFIG (~/.docker). In each file, credHelpers, credsStore and auths (containers-auth.json(5)). Thread-safe; files are
/// read and helpers are run whenever it is asked.
/// </summary>
/// <param name="options">What the command line says.</param>
/// <param name="named">The registry that the reference names.</param>
/// <param name="logger">Told of what cannot be used.</param>
internal sealed class CredentialStore(RegistryOptions options, string named, ILogger logger) : IDisposable
{
    private readonly SemaphoreSlim _looking = new(1, 1);

    /// <summary>The credentials for a repository.</summary>
    /// <param name="registry">HOST[:PORT]; Docker Hub is "docker.io".</param>
    /// <param name="repository">Its repository.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<FoundCredentials> FindAsync(string registry, string repository, CancellationToken cancellationToken)
    {
        if (options.Credentials is { } given && registry == named)
            return new FoundCredentials(given, "what --creds or --creds-stdin gave");
        // One at a time: helpers may ask their user.
        await _looking.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await LookAsync(registry, repository, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _looking.Release();
        }
    }

    public void Dispose() => _looking.Dispose();

    private async Task<FoundCredentials> LookAsync(string registry, string repository, CancellationToken cancellationToken)
    {
        var without = new List<string>(); // files that are there and have no entry
        string? missing = null; // the last that is not there
        var failed = new List<string>();
        bool askedHelpers = false;
        foreach ((string place, string name, bool isText) in Places())
        {
            try
            {
                AuthFile? file = isText ? AuthFile.Parse(System.Text.Encoding.UTF8.GetBytes(place), name) : await AuthFile.TryReadAsync(place, name, cancellationToken).ConfigureAwait(false);
                if (file is null)
                {
                    missing = $"{name} (no such file)";
                    continue;
                }
                askedHelpers |= file.HelpersFor(registry, repository).Any();
                if (await AskHelpersAsync(file, registry, repository, failed, cancellationToken).ConfigureAwait(false) is { } kept)
                    return kept;
                if (file.TryFind(registry, repository) is { } found)
                    return new FoundCredentials(found.Credentials, $"the entry {Images.Printable.Of(found.Key)} in {name}") { IsFromHelpers = askedHelpers };
                without.Add(name);
            }
            catch (InvalidDataException e)
            {
                logger.CredentialsIgnored(name, e.Message);
                options.Note($"ignoring the credentials in {name}: {e.Message}");
                failed.Add($"{name} cannot be used ({e.Message})");
            }
        }
        // Files that are there say more than those that are not.
        string? looked = without.Count > 0 ? string.Join(" or ", without) : missing;
        if (looked is not null)
            failed.Add($"no entry for {registry} in {looked}; docker login {registry} makes one");
        return new FoundCredentials(null, string.Join("; ", failed)) { IsFromHelpers = askedHelpers };
    }

    private async Task<FoundCredentials?> AskHelpersAsync(AuthFile file, string registry, string repository, List<string> failed, CancellationToken cancellationToken)
    {
        foreach ((string helper, string from) in file.HelpersFor(registry, repository))
        {
            string name = $"docker-credential-{Images.Printable.Of(helper)} ({from})";
            try
            {
                if (await CredentialHelper.GetAsync(helper, registry, cancellationToken).ConfigureAwait(false) is { } credentials)
                    return new FoundCredentials(credentials, $"what {name} gave") { IsFromHelpers = true };
                failed.Add($"{name} has nothing for {registry}");
            }
            catch (InvalidDataException e)
            {
                // A public image needs none, and another place may have some.
                logger.CredentialsIgnored(name, e.Message);
                options.Note($"{name} {e.Message}; going on without its credentials");
                failed.Add($"{name} {e.Message}");
            }
        }
        return null;
    }

    private IEnumerable<(string Place, string Name, bool IsText)> Places()
    {
        RegistryEnvironment environment = options.Environment;
        if (options.AuthFile is { } given)
        {
            yield return (given, Shown(given), false);
            yield break;
        }
        if (environment.Variable("REGISTRY_AUTH_FILE") is { Length: > 0 } named)
        {
            yield return (named, Shown(named), false);
            yield break;
        }
        if (environment.Variable("DOCKER_AUTH_CONFIG") is { Length: > 0 } text)
            yield return (text, "DOCKER_AUTH_CONFIG", true);
        string runtime = environment.Variable("XDG_RUNTIME_DIR") is { Length: > 0 } directory
            ? Path.Combine(directory, "containers/auth.json") : Path.Combine(environment.Root, "run/containers", $"{environment.UserId}", "auth.json");
        yield return (runtime, Shown(runtime), false);
        string config = Path.Combine(environment.ConfigHome, "containers/auth.json");
        yield return (config, Shown(config), false);
        string docker = Path.Combine(environment.Variable("DOCKER_CONFIG") is { Length: > 0 } own ? own : Path.Combine(environment.Home, ".docker"), "config.json");
        yield return (docker, Shown(docker), false);
    }

    private string Shown(string path)
        => Images.Printable.Of(path.StartsWith(options.Environment.Home + "/", StringComparison.Ordinal) ? "~" + path[options.Environment.Home.Length..] : path);
}
