using System.Globalization;
using System.Runtime.InteropServices;

namespace LazyMount.Blobs.Oci;

/// <summary>The OS and processor that an image runs on (image-spec v1.1, image-index.md "platform"). Written "os/architecture[/variant]".</summary>
public sealed record Platform(string Os, string Architecture)
{
    /// <summary>CPU variant such as "v8", or null.</summary>
    public string? Variant { get; init; }

    /// <summary>OS version (Windows), or null.</summary>
    public string? OsVersion { get; init; }

    /// <summary>This machine's processor. The OS is always linux: Linux images are what a mount shows wherever it runs.</summary>
    public static Platform Local { get; } = RuntimeInformation.OSArchitecture switch
    {
        System.Runtime.InteropServices.Architecture.X64 => new("linux", "amd64"),
        System.Runtime.InteropServices.Architecture.X86 => new("linux", "386"),
        System.Runtime.InteropServices.Architecture.Arm64 => new("linux", "arm64"),
        System.Runtime.InteropServices.Architecture.Arm => new("linux", "arm") { Variant = "v7" },
        System.Runtime.InteropServices.Architecture.Armv6 => new("linux", "arm") { Variant = "v6" },
        System.Runtime.InteropServices.Architecture.LoongArch64 => new("linux", "loong64"),
        var other => new("linux", other.ToString().ToLowerInvariant()),
    };

    /// <summary>The platform that attestations and other things that run nowhere are given.</summary>
    internal bool IsUnknown => Os == "unknown" || Architecture == "unknown";

    /// <summary>Parses "os/architecture[/variant]", or throws <see cref="FormatException"/> with one sentence.</summary>
    public static Platform Parse(string text)
    {
        string[] parts = text.Split('/');
        if (parts.Length is < 2 or > 3 || Array.Exists(parts, part => part.Length == 0 || part.AsSpan().ContainsAny(" \t,")))
        {
            throw new FormatException($"'{Images.Printable.Of(text)}' is not a platform; write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64 or linux/arm/v7");
        }
        return new Platform(parts[0], parts[1]) { Variant = parts.Length == 3 ? parts[2] : null }.Normalize();
    }

    /// <summary>
    /// How well <paramref name="offered"/> serves where this platform is wanted: 0 is exactly it, more is a poorer
    /// fallback, -1 does not run. The rules are containerd's <c>platforms.Only</c>.
    /// </summary>
    public int Rank(Platform offered)
    {
        offered = offered.Normalize();
        int rank = 0;
        foreach (Platform candidate in Normalize().Candidates())
        {
            if (candidate.Os == offered.Os && candidate.Architecture == offered.Architecture && candidate.Variant == offered.Variant)
                return rank;
            rank++;
        }
        return -1;
    }

    /// <summary>"os/architecture[/variant]".</summary>
    public override string ToString() => string.IsNullOrEmpty(Variant) ? $"{Os}/{Architecture}" : $"{Os}/{Architecture}/{Variant}";

    // One spelling for each: uname's and Debian's names become Go's, a default variant becomes none (arm's becomes v7).
    private Platform Normalize()
    {
        string os = Os.ToLowerInvariant() is "macos" ? "darwin" : Os.ToLowerInvariant();
        (string architecture, string variant) = (Architecture.ToLowerInvariant(), (Variant ?? "").ToLowerInvariant());
        (architecture, variant) = architecture switch
        {
            "x86_64" or "x86-64" => ("amd64", variant),
            "i386" => ("386", ""),
            "aarch64" => ("arm64", variant),
            "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            _ => (architecture, variant),
        };
        if (variant.Length > 0 && char.IsAsciiDigit(variant[0]))
        {
            variant = "v" + variant;
        }
        variant = (architecture, variant) switch
        {
            ("arm64", "v8" or "v8.0") => "",
            ("amd64", "v1") => "",
            ("arm", "") => "v7",
            _ => variant,
        };
        return this with { Os = os, Architecture = architecture, Variant = variant.Length == 0 ? null : variant };
    }

    // Of a normalised platform: itself, then what its processor also runs, best first.
    private IEnumerable<Platform> Candidates()
    {
        yield return this;
        switch (Architecture)
        {
            case "amd64":
                for (int version = Version(Variant) - 1; version >= 1; version--)
                    yield return this with { Variant = version == 1 ? null : VariantOf(version) };
                yield return this with { Architecture = "386", Variant = null };
                break;
            case "arm64":
                for (int version = Version(Variant) - 1; version >= 8; version--)
                    yield return this with { Variant = version == 8 ? null : VariantOf(version) };
                for (int version = 8; version >= 5; version--)
                    yield return this with { Architecture = "arm", Variant = VariantOf(version) };
                break;
            case "arm":
                for (int version = Version(Variant) - 1; version >= 5; version--)
                    yield return this with { Variant = VariantOf(version) };
                break;
        }

        static string VariantOf(int version) => "v" + version.ToString(CultureInfo.InvariantCulture);

        // One digit is all there is; more would only make a longer list out of a user's typing error.
        static int Version(string? variant) => variant is ['v', >= '0' and <= '9'] ? variant[1] - '0' : 0;
    }
}
