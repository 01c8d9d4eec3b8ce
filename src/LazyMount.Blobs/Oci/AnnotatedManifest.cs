using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// Writes a new manifest of an image: the same config and layers, with more annotations. A docker manifest becomes an OCI one, since
/// docker's have no annotations.
/// </summary>
public static class AnnotatedManifest
{
    /// <summary>The new manifest. Its descriptor has the added annotations.</summary>
    public static RawManifest Create(Image image, IReadOnlyDictionary<string, string> annotations)
    {
        GoJsonObject manifest = GoJsonObject.ReadManifest(image.ManifestBytes);
        (manifest["schemaVersion"], manifest["mediaType"]) = (new GoJsonObject.Raw("2"), MediaTypes.OciManifest);
        foreach (GoJsonObject blob in manifest.List("layers").Prepend(manifest["config"]).OfType<GoJsonObject>())
        {
            if (blob["mediaType"] is string type)
                blob["mediaType"] = MediaTypes.ToOci(type);
        }
        foreach ((string name, string value) in annotations)
            manifest.Annotations()[name] = value;
        byte[] bytes = manifest.ToBytes();
        return new RawManifest(new Descriptor(MediaTypes.OciManifest, Digest.OfSha256(bytes), bytes.Length) { Annotations = annotations }, bytes);
    }
}
