namespace LazyMount.Blobs.Oci;

/// <summary>Names a blob or manifest by type, digest and size (image-spec v1.1, descriptor.md).</summary>
/// <param name="MediaType">What the content claims to be: a hint only. Empty when the descriptor does not say.</param>
/// <param name="Digest">The content's identity.</param>
/// <param name="Size">In bytes.</param>
public sealed record Descriptor(string MediaType, Digest Digest, long Size)
{
    /// <summary>The size of a manifest of which only the digest is known.</summary>
    public const long UnknownSize = -1;

    /// <summary>In an image index: what the manifest runs on. Null when the entry does not name both, OS and architecture.</summary>
    public Platform? Platform { get; init; }

    /// <summary>Free key-value pairs.</summary>
    public IReadOnlyDictionary<string, string>? Annotations { get; init; }

    /// <summary>Other places to get the blob from (foreign layers).</summary>
    public IReadOnlyList<string>? Urls { get; init; }

    /// <summary>The type of an artifact, when the descriptor points at one.</summary>
    public string? ArtifactType { get; init; }

    /// <summary>The content itself, where the descriptor holds it (descriptor.md, "data") and it has the digest and the size; else null.</summary>
    public ReadOnlyMemory<byte>? Data { get; init; }

    /// <summary>The descriptor without the platform and the annotations from its index: as other documents refer to the content.</summary>
    public Descriptor ToBare() => new(MediaType, Digest, Size);

    /// <summary>A range of <see cref="Data"/> as a stream; null when the descriptor does not hold the content.</summary>
    public Stream? OpenData(long offset, long length)
        => Data is { } data ? new MemoryStream(data.Slice((int)offset, (int)length).ToArray(), writable: false) : null;
}
