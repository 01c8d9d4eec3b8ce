using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry;

/// <summary>An error answer (distribution-spec, "Error Codes").</summary>
internal sealed class ErrorsJson
{
    public static GoStruct<ErrorsJson> Form { get; } = new(("errors", (ref json, to) => to.Errors = json.ReadList(ErrorJson.Form.Read) ?? []));

    public IReadOnlyList<ErrorJson> Errors { get; private set; } = [];
}

/// <summary>One error of the answer.</summary>
internal sealed class ErrorJson
{
    public static GoStruct<ErrorJson> Form { get; } = new(
        ("code", (ref json, to) => to.Code = json.ReadString()),
        ("message", (ref json, to) => to.Message = json.ReadString()));

    public string Code { get; private set; } = "";

    public string Message { get; private set; } = "";
}

/// <summary>A token server's answer; older ones say "token", OAuth2 ones "access_token", some both.</summary>
internal sealed class TokenJson
{
    public static GoStruct<TokenJson> Form { get; } = new(
        ("token", (ref json, to) => to.Token = json.ReadString()),
        ("access_token", (ref json, to) => to.AccessToken = json.ReadString()),
        ("expires_in", (ref json, to) => to.ExpiresIn = json.ReadText()),
        ("issued_at", (ref json, to) => to.IssuedAt = json.ReadText()));

    public string Token { get; private set; } = "";

    public string AccessToken { get; private set; } = "";

    /// <summary>In seconds, as it is written; empty when the server does not say.</summary>
    public string ExpiresIn { get; private set; } = "";

    /// <summary>By RFC 3339; empty when the server does not say.</summary>
    public string IssuedAt { get; private set; } = "";
}

/// <summary>A page of a repository's tags (distribution-spec v1.1, "Listing Tags").</summary>
internal sealed class TagsJson
{
    public static GoStruct<TagsJson> Form { get; } = new(("tags", (ref json, to) => to.Tags = json.ReadList((ref each) => each.ReadString()) ?? []));

    public IReadOnlyList<string> Tags { get; private set; } = [];
}
