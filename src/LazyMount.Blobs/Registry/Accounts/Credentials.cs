namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>What a user shows a registry: a name and password, or an identity token to be exchanged for access tokens.</summary>
/// <param name="UserName">May be empty beside an identity token.</param>
/// <param name="Password">May be empty.</param>
/// <param name="IdentityToken">A refresh token (OAuth 2), or null.</param>
public sealed record Credentials(string UserName, string Password, string? IdentityToken = null)
{
    /// <summary>Never the secrets.</summary>
    public override string ToString() => $"credentials of {UserName}";
}
