using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>What one place of credentials holds, without any secret.</summary>
/// <param name="Name">The file, with ~ for the home directory, or the variable.</param>
/// <param name="Registries">The registries and namespaces that it has entries for.</param>
/// <param name="Helpers">The credential helpers that it names.</param>
/// <param name="Problem">Why it cannot be read, as a clause; null when it can.</param>
public sealed record AccountPlace(string Name, IReadOnlyList<string> Registries, IReadOnlyList<string> Helpers, string? Problem);

/// <summary>Looks for credentials in all places that are looked at when a registry asks for them. No helper is run.</summary>
public static class AccountSurvey
{
    /// <summary>The places that are there, in the order in which they count.</summary>
    public static Task<IReadOnlyList<AccountPlace>> TakeAsync(RegistryOptions options, CancellationToken cancellationToken)
        => new CredentialStore(options, "", NullLogger.Instance).SurveyAsync(cancellationToken);
}
