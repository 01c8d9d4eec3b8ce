using System.Text;
using System.Text.Json;
using LazyMount.Layers.Archives;

namespace LazyMount.Fuzz.Targets;

/// <summary>manifest.json of a docker archive: taken with what System.Text.Json finds in it, or refused as malformed.</summary>
internal static class DockerManifestTarget
{
    public static void Run(byte[] input)
    {
        IReadOnlyList<DockerManifestItem> items;
        try
        {
            items = DockerManifestItem.ReadAll(input);
        }
        catch (JsonException e)
        {
            FuzzException.Require(e.Message.Length is > 0 and < 200, "the reason is missing, or long");
            return;
        }
        using JsonDocument document = JsonDocument.Parse(input, new JsonDocumentOptions { MaxDepth = 10_000 });
        if (document.RootElement.ValueKind == JsonValueKind.Null)
        {
            FuzzException.Require(items.Count == 0, "null holds images");
            return;
        }
        JsonElement[] elements = [.. document.RootElement.EnumerateArray()];
        FuzzException.Require(elements.Length == items.Count, "other images");
        foreach ((JsonElement element, DockerManifestItem item) in elements.Zip(items))
        {
            FuzzException.Require(Is(item.Config, Find(element, "config")), "another config");
            FuzzException.Require(AreAll(item.Layers, Find(element, "layers")), "other layers");
            FuzzException.Require(AreAll(item.RepoTags, Find(element, "repotags")), "other names");
        }
    }

    // The last of the name in any case; there is but one, or the document is refused.
    private static JsonElement? Find(JsonElement image, string name)
    {
        JsonElement? found = null;
        foreach (JsonProperty property in image.EnumerateObject())
        {
            if (TryText(() => property.Name) is { } key && key.Replace('\u017F', 's').Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                FuzzException.Require(found is null, "a key that stands twice is taken");
                found = property.Value;
            }
        }
        return found;
    }

    private static bool AreAll(IReadOnlyList<string> read, JsonElement? list)
        => list is not { ValueKind: JsonValueKind.Array } ? read.Count == 0 : read.Count == list.Value.GetArrayLength() && list.Value.EnumerateArray().Zip(read).All(pair => Is(pair.Second, pair.First));

    private static bool Is(string read, JsonElement? value)
        => value is not { ValueKind: JsonValueKind.String } text ? read.Length == 0 : TryText(text.GetString) is not { } right || right == read;

    // Null for what System.Text.Json does not turn into text: bytes that are not UTF-8, surrogates alone.
    private static string? TryText(Func<string?> get)
    {
        try
        {
            return get();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    public static IEnumerable<byte[]> Seeds() => new[]
    {
        """[{"Config":"a.json","RepoTags":["debian:12","x/y:1"],"Layers":["1/layer.tar","2/layer.tar"]},{"Config":"b.json","RepoTags":null,"Layers":null}]""",
        """ [ { "config" : "\u0061", "LAYERS":[ null, "\ud800" ], "x":[{"Config":1}], "x":2 } ] """,
        "null", "[]", "[null]",
    }.Select(Encoding.UTF8.GetBytes);
}
