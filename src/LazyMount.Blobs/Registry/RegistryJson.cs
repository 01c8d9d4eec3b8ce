using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Registry;

/// <summary>An error answer (distribution-spec, "Error Codes").</summary>
internal sealed record ErrorsJson
{
    [JsonPropertyName("errors")]
    public ErrorJson?[]? Errors { get; init; }
}

/// <summary>One error of the answer.</summary>
internal sealed record ErrorJson
{
    [JsonPropertyName("code")]
    public string? Code { get; init; }

    [JsonPropertyName("message")]
    public string? Message { get; init; }
}

/// <summary>A token server's answer; older ones say "token", OAuth2 ones "access_token", some both.</summary>
internal sealed record TokenJson
{
    [JsonPropertyName("token")]
    public string? Token { get; init; }

    [JsonPropertyName("access_token")]
    public string? AccessToken { get; init; }

    [JsonPropertyName("expires_in")]
    public long? ExpiresIn { get; init; }
}

/// <summary>docker's config.json, as far as we read it.</summary>
internal sealed record DockerConfigJson
{
    [JsonPropertyName("auths")]
    public Dictionary<string, DockerAuthJson?>? Auths { get; init; }
}

/// <summary>What docker's config.json knows of one registry.</summary>
internal sealed record DockerAuthJson
{
    [JsonPropertyName("auth")]
    public string? Auth { get; init; }

    [JsonPropertyName("username")]
    public string? Username { get; init; }

    [JsonPropertyName("password")]
    public string? Password { get; init; }

    [JsonPropertyName("identitytoken")]
    public string? IdentityToken { get; init; }
}

[JsonSerializable(typeof(ErrorsJson))]
[JsonSerializable(typeof(TokenJson))]
[JsonSerializable(typeof(DockerConfigJson))]
internal sealed partial class RegistryJson : JsonSerializerContext;
