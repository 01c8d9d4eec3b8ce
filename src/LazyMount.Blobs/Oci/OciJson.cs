using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// How the spec's JSON is read: what must be there must be, and no property may stand twice (readers would differ in which one
/// counts). Names are compared as Go does, whatever their case: else two readers could see two images.
/// </summary>
[JsonSourceGenerationOptions(
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false,
    PropertyNameCaseInsensitive = true)]
[JsonSerializable(typeof(ManifestJson))]
[JsonSerializable(typeof(ImageConfig))]
internal sealed partial class OciJson : JsonSerializerContext
{
    /// <summary>The same for documents that are changed.</summary>
    public static JsonNodeOptions Nodes { get; } = new() { PropertyNameCaseInsensitive = true };
}
