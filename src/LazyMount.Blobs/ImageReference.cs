using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs;

/// <summary>Which transport a reference names (containers-transports(5)).</summary>
public enum Transport
{
    /// <summary>A repository of a registry: <c>NAME[:TAG][@DIGEST]</c> or <c>docker://…</c>.</summary>
    Registry,

    /// <summary>An OCI image layout directory: <c>oci:DIR[:TAG]</c>.</summary>
    OciLayout,
}

/// <summary>Names an image as users do. Immutable; made by <see cref="Parse"/>.</summary>
public sealed record ImageReference
{
    /// <summary>Which transport the image comes by.</summary>
    public Transport Transport { get; private init; }

    /// <summary>Registry host with port ("docker.io" for the default), or the layout's directory.</summary>
    public string Location { get; private init; } = "";

    /// <summary>Repository, such as "library/debian"; empty for a layout.</summary>
    public string Repository { get; private init; } = "";

    /// <summary>Tag; for a registry "latest" is implied when there is neither tag nor digest.</summary>
    public string? Tag { get; private init; }

    /// <summary>Digest, when given: it wins over the tag.</summary>
    public Digest? Digest { get; private init; }

    /// <summary>Parses, or throws <see cref="FormatException"/> with one sentence that says what is wrong.</summary>
    public static ImageReference Parse(string text) => throw new NotImplementedException();

    /// <summary>The reference in full, such as "docker.io/library/debian:12" or "oci:dir:tag".</summary>
    public override string ToString() => throw new NotImplementedException();
}
