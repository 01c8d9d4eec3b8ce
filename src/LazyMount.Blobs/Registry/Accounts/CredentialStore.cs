using LazyMount.Blobs.Files;
using Microsoft.Extensions.Logging;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>What the user's configuration holds for one repository.</summary>
/// <param name="Credentials">Null: none.</param>
/// <param name="Account">A clause for sentences: where they came from, or what was looked at.</param>
internal sealed record FoundCredentials(Credentials? Credentials, string Account);

/// <summary>Finds credentials for registries. Thread-safe.</summary>
internal sealed class CredentialStore(RegistryOptions options, ILogger logger)
{
    /// <summary>The credentials for a repository.</summary>
    /// <param name="registry">HOST[:PORT]; Docker Hub is "docker.io".</param>
    /// <param name="repository">Its repository.</param>
    /// <param name="again">What was found before was refused: look anew.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task<FoundCredentials> FindAsync(string registry, string repository, bool again, CancellationToken cancellationToken)
    {
        string directory = options.Environment.Variable("DOCKER_CONFIG") ?? Path.Combine(options.Environment.Home, ".docker");
        string path = PathText.ForCalls(Path.Combine(directory, "config.json"));
        Credentials? found = DockerConfig.Find(directory, registry, logger);
        return Task.FromResult(new FoundCredentials(found, found is null ? $"no entry for {registry} in {path}" : $"the entry {registry} in {path}"));
    }
}
