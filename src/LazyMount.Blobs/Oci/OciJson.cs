using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Oci;

/// <summary>How the spec's JSON is read: what must be there must be, and no property may stand twice (readers would differ in which one counts).</summary>
[JsonSourceGenerationOptions(
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ManifestJson))]
[JsonSerializable(typeof(ImageConfig))]
internal sealed partial class OciJson : JsonSerializerContext;
