using LazyMount.Blobs.Sources;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// Makes an OCI image index from another image index, or from one manifest. Entries that are not changed keep all their
/// members, also unknown ones. A docker manifest list becomes an OCI image index, since docker's entries have no annotations.
/// </summary>
public sealed class ImageIndexBuilder
{
    private readonly GoJsonObject _index;
    private readonly List<object?> _entries;

    /// <summary>Starts with all entries of an image index.</summary>
    /// <param name="index">A sound image index (<see cref="ManifestDocument.Parse"/>).</param>
    public ImageIndexBuilder(RawManifest index)
    {
        _index = GoJsonObject.ReadIndex(index.Bytes);
        (_index["schemaVersion"], _index["mediaType"]) = (new GoJsonObject.Raw("2"), MediaTypes.OciIndex);
        _entries = _index.List("manifests");
    }

    /// <summary>Starts with one manifest.</summary>
    /// <param name="manifest">The manifest, with its platform: engines choose an entry by it.</param>
    public ImageIndexBuilder(Descriptor manifest)
    {
        _index = GoJsonObject.NewIndex();
        _entries = _index.List("manifests");
        _entries.Add(GoJsonObject.Of(manifest));
    }

    /// <summary>Removes the entries that have an annotation with a value for which a condition holds.</summary>
    public void Remove(string annotation, Predicate<string> condition) => _entries.RemoveAll(entry => IsAnnotated(entry, annotation, condition));

    /// <summary>Names another manifest in the place of one. Its entries get the new type, digest and size, and the new annotations in addition.</summary>
    /// <returns>How many entries named it.</returns>
    public int Replace(Digest manifest, Descriptor by)
    {
        List<GoJsonObject> named = [.. _entries.OfType<GoJsonObject>().Where(each => each["digest"] is string digest && digest == manifest.ToString())];
        foreach (GoJsonObject entry in named)
        {
            (entry["mediaType"], entry["digest"], entry["size"], entry["data"]) = (by.MediaType, by.Digest.ToString(), GoJsonObject.SizeOf(by), null);
            foreach ((string name, string value) in by.Annotations ?? new Dictionary<string, string>())
                entry.Annotations()[name] = value;
        }
        return named.Count;
    }

    /// <summary>Puts an entry in the place of the one that has an annotation with a value, or at the end when there is none.</summary>
    public void Put(string annotation, string value, Descriptor entry)
    {
        int at = _entries.FindIndex(each => IsAnnotated(each, annotation, value.Equals));
        if (at >= 0)
            _entries[at] = GoJsonObject.Of(entry);
        else
            _entries.Add(GoJsonObject.Of(entry));
    }

    /// <summary>The image index. Equal entries in equal order give equal bytes, and Go's tools write the same bytes.</summary>
    public RawManifest Build()
    {
        byte[] bytes = _index.ToBytes();
        return new RawManifest(new Descriptor(MediaTypes.OciIndex, Digest.OfSha256(bytes), bytes.Length), bytes);
    }

    private static bool IsAnnotated(object? entry, string annotation, Predicate<string> condition)
        => (entry as GoJsonObject)?["annotations"] is GoJsonObject annotations && annotations[annotation] is string value && condition(value);
}
