using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>What the user's configuration holds for one repository.</summary>
/// <param name="Credentials">Null: none.</param>
/// <param name="Account">A clause for sentences: where they came from, or what was looked at and what to do.</param>
internal sealed record FoundCredentials(Credentials? Credentials, string Account)
{
    /// <summary>The next step when the credentials are refused, as a clause. Empty when there are no credentials: then Account has the next step.</summary>
    public string Advice { get; init; } = "";

    /// <summary>Helper programs were run to find out: not to be asked too often.</summary>
    public bool IsFromHelpers { get; init; }
}

/// <summary>
/// Finds credentials where docker, podman and their kin keep them. In order: those of the command line, for the registry that the reference
/// names; the file of --authfile or REGISTRY_AUTH_FILE, and then no other; the text in DOCKER_AUTH_CONFIG; podman's auth.json in
/// $XDG_RUNTIME_DIR/containers (/run/containers/UID without the variable) and in $XDG_CONFIG_HOME/containers; docker's config.json
/// in $DOCKER_CONFIG (~/.docker); its old ~/.dockercfg. In each file, credHelpers, credsStore and auths (containers-auth.json(5)). Thread-safe; files are
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
            return new FoundCredentials(given, "the credentials of --creds or --creds-stdin") { Advice = "check the user name and the password" };
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

    /// <summary>What the places hold that are there.</summary>
    public async Task<IReadOnlyList<AccountPlace>> SurveyAsync(CancellationToken cancellationToken)
    {
        List<AccountPlace> found = [];
        foreach (Place place in Places("HOST"))
        {
            try
            {
                if (await ReadAsync(place, cancellationToken).ConfigureAwait(false) is { } file)
                {
                    string? problem = null;
                    (IReadOnlyList<string> registries, IReadOnlyList<string> helpers) = file.Keys(reason => problem = reason);
                    found.Add(new AccountPlace(place.Name, registries, helpers, problem));
                }
            }
            catch (InvalidDataException e)
            {
                found.Add(new AccountPlace(place.Name, [], [], e.Message));
            }
        }
        return found;
    }

    private static async Task<AuthFile?> ReadAsync(Place place, CancellationToken cancellationToken)
    {
        if (place.IsText)
            return AuthFile.Parse(System.Text.Encoding.UTF8.GetBytes(place.Source), place.Name);
        try
        {
            return await AuthFile.TryReadAsync(place.Source, place.Name, place.IsOld, cancellationToken).ConfigureAwait(false);
        }
        catch (InvalidDataException e) when (e.InnerException is UnauthorizedAccessException && place.GivenBy is null && !File.Exists(place.Source))
        {
            return null; // in a directory that this user may not look into, as /run/containers after root has run podman
        }
    }

    private async Task<FoundCredentials> LookAsync(string registry, string repository, CancellationToken cancellationToken)
    {
        Place? without = null, missing = null; // the last that is there and has no entry, and the last that is not there
        var looked = new List<string>(); // those without
        var failed = new List<string>();
        bool askedHelpers = false;
        foreach (Place place in Places(registry))
        {
            bool isSound = true;
            AuthFile? file;
            try
            {
                file = await ReadAsync(place, cancellationToken).ConfigureAwait(false);
            }
            catch (InvalidDataException e)
            {
                Ignore($"the credentials in {place.Name}", e.Message);
                continue;
            }
            if (file is null)
            {
                if (place.GivenBy is { } given)
                    options.Note($"ignoring {given}: {place.Name} does not exist");
                if (!place.IsOld)
                    missing = place;
                continue;
            }
            (FoundCredentials? kept, bool asked) = await AskHelpersAsync(file.HelpersFor(registry, repository, IgnorePart), place, registry, failed, cancellationToken).ConfigureAwait(false);
            askedHelpers |= asked;
            if (kept is not null)
                return kept;
            if (file.TryFind(registry, repository, IgnorePart) is { } found)
                return new FoundCredentials(found.Credentials, $"the entry '{Images.Printable.Of(found.Key)}' in {place.Name}") { Advice = place.Replaces, IsFromHelpers = askedHelpers };
            if (isSound)
                looked.Add((without = place).Name);

            void IgnorePart(string reason)
            {
                isSound = false;
                Ignore($"a part of {place.Name}", reason);
            }
        }
        // Files that are there say more than those that are not.
        if ((without ?? missing) is { } last)
            failed.Add($"no entry for {registry} in {(without is null ? $"{last.Name} (no such file)" : string.Join(" or ", looked))}; {last.Makes}");
        return new FoundCredentials(null, string.Join("; ", failed)) { IsFromHelpers = askedHelpers };

        void Ignore(string what, string reason)
        {
            logger.CredentialsIgnored(what, reason);
            options.Note($"ignoring {what}: {reason}");
            failed.Add($"{what} cannot be used ({reason})");
        }
    }

    private async Task<(FoundCredentials? Found, bool Asked)> AskHelpersAsync(
        IEnumerable<(string Helper, string From)> helpers, Place place, string registry, List<string> failed, CancellationToken cancellationToken)
    {
        bool asked = false;
        foreach ((string helper, string from) in helpers)
        {
            asked = true;
            string name = $"docker-credential-{Images.Printable.Of(helper)} ({from})";
            try
            {
                Credentials? credentials = await CredentialHelper.GetAsync(helper, CredentialHelper.ServerOf(registry), cancellationToken).ConfigureAwait(false);
                if (credentials is null && CredentialHelper.ServerOf(registry) != registry)
                    credentials = await CredentialHelper.GetAsync(helper, registry, cancellationToken).ConfigureAwait(false); // as podman stores it
                if (credentials is not null)
                    return (new FoundCredentials(credentials, $"the credentials of {name}") { Advice = place.Replaces, IsFromHelpers = true }, true);
                failed.Add($"{name} has no credentials for {CredentialHelper.ServerOf(registry)}");
            }
            catch (InvalidDataException e)
            {
                // A public image needs none, and another place may have some.
                logger.CredentialsIgnored(name, e.Message);
                options.Note($"{name} {e.Message}; continuing without its credentials");
                failed.Add($"{name} {e.Message}");
            }
        }
        return (null, asked);
    }

    private IEnumerable<Place> Places(string registry)
    {
        RegistryEnvironment environment = options.Environment;
        if (options.AuthFile is { } given)
        {
            yield return Alone("--authfile", given);
            yield break;
        }
        if (environment.Variable("REGISTRY_AUTH_FILE") is { Length: > 0 } named)
        {
            yield return Alone("REGISTRY_AUTH_FILE", named);
            yield break;
        }
        if (environment.Variable("DOCKER_AUTH_CONFIG") is { Length: > 0 } text)
            yield return new Place(text, "DOCKER_AUTH_CONFIG", null) { IsText = true };
        string podman = $"podman login {registry}", docker = $"docker login {registry}";
        string runtime = environment.Variable("XDG_RUNTIME_DIR") is { Length: > 0 } directory
            ? Path.Combine(directory, "containers/auth.json") : Path.Combine(environment.Root, "run/containers", $"{environment.UserId}", "auth.json");
        yield return new Place(runtime, Quoted(runtime), podman);
        string config = Path.Combine(environment.ConfigHome, "containers/auth.json");
        yield return new Place(config, Quoted(config), podman);
        string own = Path.Combine(environment.Variable("DOCKER_CONFIG") is { Length: > 0 } other ? other : Path.Combine(environment.Home, ".docker"), "config.json");
        yield return new Place(own, Quoted(own), docker);
        string old = Path.Combine(environment.Home, ".dockercfg");
        yield return new Place(old, Quoted(old), docker) { IsOld = true };

        Place Alone(string givenBy, string file) => new(file, Quoted(file), $"skopeo login --authfile {Shown(file)} {registry}") { GivenBy = givenBy };
    }

    private string Quoted(string path) => $"'{Shown(path)}'";

    private string Shown(string path)
        => Images.Printable.Of(path.StartsWith(options.Environment.Home + "/", StringComparison.Ordinal) ? "~" + path[options.Environment.Home.Length..] : path);

    /// <summary>Where credentials may be.</summary>
    /// <param name="Source">The path of a file, or the text itself.</param>
    /// <param name="Name">What messages call it.</param>
    /// <param name="Login">The command that writes into it; null: the user does.</param>
    private sealed record Place(string Source, string Name, string? Login)
    {
        public bool IsText { get; init; }

        /// <summary>The file is docker's old one, which messages do not advise to make.</summary>
        public bool IsOld { get; init; }

        /// <summary>The option or the variable that names the file, and so says that there is one.</summary>
        public string? GivenBy { get; init; }

        public string Makes => Login is null ? "correct the variable" : $"{Login} makes one";

        public string Replaces => Login is null ? "correct the variable" : $"{Login} replaces it";
    }
}
