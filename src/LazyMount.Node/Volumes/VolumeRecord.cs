using System.Text.Json.Serialization;
using LazyMount.Blobs.Oci;

namespace LazyMount.Node.Volumes;

/// <summary>A volume that a pod has, as it is on disk: written before anything is mounted, so that whatever was is found again.</summary>
/// <param name="Target">Where the kubelet wants it.</param>
/// <param name="Reference">The image.</param>
/// <param name="Manifest">The manifest that the reference led to.</param>
/// <param name="IsWritable">What is written is kept until the volume is taken away.</param>
internal sealed record VolumeRecord(string Target, string Reference, [property: JsonConverter(typeof(DigestConverter))] Digest Manifest, bool IsWritable);

/// <summary>How a record is written.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(VolumeRecord))]
internal sealed partial class VolumeJson : JsonSerializerContext;
