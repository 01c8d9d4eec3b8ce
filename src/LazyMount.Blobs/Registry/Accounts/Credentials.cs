namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>The credentials of a user at a registry: a name and password, an identity token to be exchanged for access tokens, or an access token itself.</summary>
/// <param name="UserName">May be empty beside a token.</param>
/// <param name="Password">May be empty.</param>
/// <param name="IdentityToken">A refresh token (OAuth 2), or null.</param>
/// <param name="RegistryToken">A Bearer token that is sent as it is, or null.</param>
public sealed record Credentials(string UserName, string Password, string? IdentityToken = null, string? RegistryToken = null)
{
    /// <summary>Never the secrets.</summary>
    public override string ToString() => $"credentials of {UserName}";

    /// <summary>Reads "USER:PASS"; null when there is no colon. The password may hold colons.</summary>
    public static Credentials? Parse(string pair)
    {
        int colon = pair.IndexOf(':', StringComparison.Ordinal);
        return colon < 0 ? null : new Credentials(pair[..colon], pair[(colon + 1)..]);
    }

    /// <summary>True when a text can be sent as a token: visible ASCII alone, which a header takes.</summary>
    internal static bool IsToken(string text) => text.Length > 0 && !text.AsSpan().ContainsAnyExceptInRange('!', '~');
}
