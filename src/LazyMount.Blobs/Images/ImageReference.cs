using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Images;

/// <summary>Which transport a reference names (containers-transports(5)).</summary>
public enum Transport
{
    /// <summary>A repository of a registry: <c>NAME[:TAG][@DIGEST]</c> or <c>docker://…</c>.</summary>
    Registry,

    /// <summary>An OCI image layout directory: <c>oci:DIR[:TAG][@DIGEST]</c> or <c>oci:DIR:@N</c>.</summary>
    OciLayout,

    /// <summary>An OCI image layout in a tar file: <c>oci-archive:FILE[:TAG][@DIGEST]</c> or <c>oci-archive:FILE:@N</c>.</summary>
    OciArchive,

    /// <summary>What `docker save` writes: <c>docker-archive:FILE[:NAME[:TAG]|:@N]</c>.</summary>
    DockerArchive,
}

/// <summary>Names an image as users do. Immutable; made by <see cref="Parse"/>.</summary>
public sealed partial record ImageReference
{
    private const string OciPrefix = "oci:", OciArchivePrefix = "oci-archive:", DockerArchivePrefix = "docker-archive:";

    // The other transports of containers-transports(5).
    private static readonly string[] s_unread = ["containers-storage:", "dir:", "docker-daemon:", "ostree:", "sif:"];
    private static readonly string[] s_layoutSchemes = ["ocidir://", "oci-layout://"];
    private const int MaxNameLength = 255;

    /// <summary>Which transport the image comes by.</summary>
    public Transport Transport { get; private init; }

    /// <summary>Registry host with port ("docker.io" for the default), or the layout's directory, or the archive's file.</summary>
    public string Location { get; private init; } = "";

    /// <summary>Repository, such as "library/debian"; empty for a layout and an archive.</summary>
    public string Repository { get; private init; } = "";

    /// <summary>
    /// Tag; for a registry "latest" is implied when there is neither tag nor digest. For a docker archive the whole name
    /// in full, such as "docker.io/library/debian:12".
    /// </summary>
    public string? Tag { get; private init; }

    /// <summary>Which image of a layout or an archive, counted from 0, when it was chosen so and not by name.</summary>
    public int? SourceIndex { get; private init; }

    /// <summary>Digest, when given: it wins over the tag.</summary>
    public Digest? Digest { get; private init; }

    /// <summary>Parses, or throws <see cref="FormatException"/> with one sentence that says what is wrong.</summary>
    public static ImageReference Parse(string text)
    {
        if (text.Any(char.IsControl))
            throw Malformed(text, "it has control characters");
        if (text.StartsWith(OciPrefix, StringComparison.Ordinal))
            return ParseLayout(text, Transport.OciLayout, OciPrefix, "DIR");
        if (text.StartsWith(OciArchivePrefix, StringComparison.Ordinal))
            return ParseLayout(text, Transport.OciArchive, OciArchivePrefix, "FILE");
        if (text.StartsWith(DockerArchivePrefix, StringComparison.Ordinal))
            return ParseDockerArchive(text);
        // As regctl and oras write it.
        if (Array.Find(s_layoutSchemes, scheme => text.StartsWith(scheme, StringComparison.Ordinal)) is { } scheme)
            return ParseLayout(OciPrefix + text[scheme.Length..], Transport.OciLayout, OciPrefix, "DIR");
        if (Array.Find(s_unread, prefix => text.StartsWith(prefix, StringComparison.Ordinal)) is { } unread)
            throw Malformed(text, $"the transport {unread} is not supported; copy the image to a layout with skopeo copy {Printable.Of(text)} oci:DIR:TAG");
        text = UserInfo().Replace(text, "…@"); // no reference has any, and its password must not be repeated
        if (text.Contains("://", StringComparison.Ordinal) && !text.StartsWith("docker://", StringComparison.Ordinal))
            throw Malformed(text, "it has a URL scheme; write HOST/NAME:TAG without one");
        return ParseRegistry(text, text.StartsWith("docker://", StringComparison.Ordinal) ? text["docker://".Length..] : text);
    }

    /// <summary>The layout or archive itself, whichever image of it is meant, such as "oci:dir".</summary>
    public string Place => Transport switch
    {
        Transport.OciLayout => OciPrefix + Location,
        Transport.OciArchive => OciArchivePrefix + Location,
        Transport.DockerArchive => DockerArchivePrefix + Location,
        _ => $"{Location}/{Repository}",
    };

    /// <summary>The shortest text that names the repository, such as "debian" for "docker.io/library/debian". For a layout or an archive <see cref="Place"/>.</summary>
    public string ShortPlace => Transport != Transport.Registry || Location != DockerHub.Name ? Place
        : Repository.StartsWith("library/", StringComparison.Ordinal) ? Repository["library/".Length..] : Repository;

    /// <summary>What an image that is copied from here is naturally called in a layout: the reference's tag. Null: it has none, or none that a layout can hold.</summary>
    public string? Name
    {
        get
        {
            string? tag = Transport == Transport.DockerArchive ? Tag?[(Tag.LastIndexOf(':') + 1)..] : Tag;
            return tag is not null && LayoutTagPattern().IsMatch(tag) ? tag : null;
        }
    }

    /// <summary>The same with an absolute path: it means the same in every working directory.</summary>
    public ImageReference ToAbsolute() => Transport == Transport.Registry ? this : this with { Location = PathText.FullPath(Location) };

    /// <summary>What a tag names in the same repository or layout.</summary>
    /// <exception cref="FormatException">It is not a tag; says so in one sentence.</exception>
    public ImageReference WithTag(string tag)
        => (Transport == Transport.Registry ? TagPattern() : LayoutTagPattern()).IsMatch(tag)
            ? this with { Tag = tag, Digest = null, SourceIndex = null }
            : throw new FormatException(NotATag(tag));

    /// <summary>What a digest names in the same repository.</summary>
    public ImageReference WithDigest(Digest digest) => this with { Tag = null, Digest = digest, SourceIndex = null };

    /// <summary>The reference in full, such as "docker.io/library/debian:12" or "oci:dir:tag".</summary>
    public override string ToString()
        => Place + (Tag is null ? "" : $":{Tag}") + (Digest is null ? "" : $"@{Digest}") + (SourceIndex is null ? "" : $":@{SourceIndex}");

    /// <summary>An image's name as docker reads it, in full ("debian" is "docker.io/library/debian:latest"); null when it is not one.</summary>
    public static string? TryNormalizeName(string name)
    {
        try
        {
            ImageReference parsed = ParseRegistry(name, name);
            return parsed.Digest is null ? parsed.ToString() : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    /// <summary>HOST[:PORT]/REPOSITORY[:TAG][@DIGEST], whose first component is the host whatever it looks like; null when the text is not that.</summary>
    internal static ImageReference? TryParseFull(string text)
    {
        try
        {
            return text.Contains('/') ? ParseRegistry(text, text, isFull: true) : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    // The path ends at the first colon, as for skopeo and podman.
    private static ImageReference ParseLayout(string text, Transport transport, string prefix, string path)
    {
        string rest = text[prefix.Length..];
        Digest? digest = null;
        if (DigestMark().Match(rest) is { Success: true, Index: int at })
            (rest, digest) = (rest[..at], ParseDigest(text, rest[(at + 1)..]));
        (string location, string? tag) = SplitPath(rest);
        if (location.Length == 0)
            throw Malformed(text, $"it names no {(path == "DIR" ? "directory" : "file")}; write {prefix}{path} or {prefix}{path}:TAG");
        if (tag is ['@', ..] && digest is not null)
            throw Malformed(text, $"it has both a number and a digest; write {prefix}{path}:@0 or {prefix}{path}@DIGEST");
        if (tag is ['@', .. string number])
            return new ImageReference { Transport = transport, Location = location, SourceIndex = ParseSourceIndex(text, number, prefix + path) };
        if (tag is not null && !LayoutTagPattern().IsMatch(tag))
            throw Malformed(text, $"the text after the {(path == "DIR" ? "directory" : "file")} is not a tag; write {prefix}{path} or {prefix}{path}:TAG, where {path} has no colon");
        return new ImageReference { Transport = transport, Location = location, Tag = tag, Digest = digest };
    }

    private static ImageReference ParseDockerArchive(string text)
    {
        if (DigestMark().IsMatch(text))
            throw Malformed(text, "images of a docker archive have no digest; write docker-archive:FILE, docker-archive:FILE:NAME:TAG or docker-archive:FILE:@0");
        (string file, string? name) = SplitPath(text[DockerArchivePrefix.Length..]);
        if (file.Length == 0)
            throw Malformed(text, "it names no file; write docker-archive:FILE or docker-archive:FILE:NAME:TAG");
        var reference = new ImageReference { Transport = Transport.DockerArchive, Location = file };
        if (name is ['@', .. string number])
            return reference with { SourceIndex = ParseSourceIndex(text, number, "docker-archive:FILE") };
        return name is null ? reference : reference with
        {
            Tag = TryNormalizeName(name) ?? throw Malformed(text, "the text after the file is not an image's name; write docker-archive:FILE, docker-archive:FILE:NAME:TAG or docker-archive:FILE:@0, where FILE has no colon"),
        };
    }

    private static int ParseSourceIndex(string text, string number, string place)
        => int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index
            : throw Malformed(text, $"the text after @ is not a number; write {place}:@0 for the first image");

    private static Digest ParseDigest(string text, string digest)
        => Oci.Digest.TryParse(digest, out Digest parsed) ? parsed
            : throw Malformed(text, $"'{Printable.Of(digest)}' is not a digest; write sha256: and 64 hex digits, or sha512: and 128 hex digits, all in lower case");

    private static (string Path, string? Name) SplitPath(string text)
    {
        int colon = text.IndexOf(':');
        return colon < 0 ? (text, null) : (text[..colon], text[(colon + 1)..]);
    }

    // NAME[:TAG][@DIGEST] (distribution-spec and docker's reference grammar), cut from its end.
    private static ImageReference ParseRegistry(string text, string rest, bool isFull = false)
    {
        if (rest.Length == 0)
            throw Malformed(text, "it names no image; write NAME:TAG, such as debian:12");
        if (rest[0] is '/' or '.' or '~')
            throw Malformed(text, $"it looks like a path; for an OCI layout directory write oci:{Printable.Of(rest)}, for an archive oci-archive:{Printable.Of(rest)} or docker-archive:{Printable.Of(rest)}");

        Digest? digest = null;
        int at = rest.IndexOf('@');
        if (at >= 0)
        {
            digest = ParseDigest(text, rest[(at + 1)..]);
            rest = rest[..at];
        }

        string? tag = null;
        int colon = rest.LastIndexOf(':');
        if (colon > rest.LastIndexOf('/'))
        {
            tag = rest[(colon + 1)..];
            if (!TagPattern().IsMatch(tag))
                throw Malformed(text, NotATag(tag));
            rest = rest[..colon];
        }

        (string host, string repository) = SplitHost(rest, isFull);
        if (!HostPattern().IsMatch(host) || !IsHost(host))
            throw Malformed(text, $"'{Printable.Of(host)}' is not a registry; write HOST or HOST:PORT, with a port from 1 to 65535");
        host = DockerHub.NameOf(host);
        if (host == DockerHub.Name && !repository.Contains('/'))
            repository = "library/" + repository;
        if (!RepositoryPattern().IsMatch(repository))
        {
            string lower = rest.ToLowerInvariant();
            throw Malformed(text, lower != rest && RepositoryPattern().IsMatch(repository.ToLowerInvariant())
                ? $"a repository's name must be lower case; write {Printable.Of(lower)}"
                : $"'{Printable.Of(repository)}' is not a repository's name; write lower-case letters and digits, with single dots, dashes, underscores or slashes between them");
        }
        if (host.Length + 1 + repository.Length > MaxNameLength)
            throw Malformed(text, $"the name has more than {MaxNameLength} characters");

        return new ImageReference
        {
            Transport = Transport.Registry,
            Location = host,
            Repository = repository,
            Tag = tag ?? (digest is null ? "latest" : null),
            Digest = digest,
        };
    }

    private static (string Host, string Repository) SplitHost(string name, bool isFull)
    {
        int slash = name.IndexOf('/');
        // As docker does: a repository's name has no upper-case letter.
        if (slash > 0 && (isFull || name.AsSpan(0, slash).ContainsAny('.', ':') || name.AsSpan(0, slash) is "localhost" || name.AsSpan(0, slash).ContainsAnyInRange('A', 'Z')))
            return (name[..slash], name[(slash + 1)..]);
        return (DockerHub.Name, name);
    }

    // What the pattern cannot tell: whether the parts are an address, a name that DNS can have, and a port.
    private static bool IsHost(string host)
    {
        int colon = host.LastIndexOf(':');
        bool hasPort = colon > host.LastIndexOf(']');
        string name = hasPort ? host[..colon] : host;
        if (hasPort && !(int.TryParse(host.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and <= ushort.MaxValue))
            return false;
        return name[0] == '[' ? IPAddress.TryParse(name, out _) : Uri.CheckHostName(name) is UriHostNameType.Dns or UriHostNameType.IPv4;
    }

    private static FormatException Malformed(string text, string reason)
        => new($"'{Printable.Of(text)}' is not an image reference: {reason}");

    private static string NotATag(string text)
        => $"'{Printable.Of(text)}' is not a tag; a tag has up to 128 letters, digits, underscores, dots and dashes, and does not begin with a dot or a dash";

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z")]
    private static partial Regex TagPattern();

    // What image-spec annotations.md allows for org.opencontainers.image.ref.name; containerd writes whole names there.
    [GeneratedRegex(@"\A[A-Za-z0-9](?:[A-Za-z0-9._:@/+-]{0,254})\z")]
    private static partial Regex LayoutTagPattern();

    // Where a digest begins behind a path or a layout's tag, which both may hold "@". A well-formed digest is found, and so is a slip.
    [GeneratedRegex(@"@(?:sha[0-9]+:|[0-9a-f]{64,}\z)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex DigestMark();

    [GeneratedRegex(@"(?<=\A|://)[^/@]*:[^/]*@(?=[^@]*/)")]
    private static partial Regex UserInfo();

    [GeneratedRegex(@"\A(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\z")]
    private static partial Regex HostPattern();

    [GeneratedRegex(@"\A[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\z")]
    private static partial Regex RepositoryPattern();
}
