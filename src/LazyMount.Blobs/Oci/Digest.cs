namespace LazyMount.Blobs.Oci;

/// <summary>A content digest, "algorithm:hex" (image-spec v1.1, descriptor.md "Digests"). sha256 and sha512 are known; hex is lower case.</summary>
public readonly record struct Digest
{
    private Digest(string algorithm, string hex) => (Algorithm, Hex) = (algorithm, hex);

    /// <summary>"sha256" or "sha512".</summary>
    public string Algorithm { get; }

    /// <summary>The hash in lower-case hex.</summary>
    public string Hex { get; }

    /// <summary>Parses; anything but a registered algorithm with lower-case hex of the right length is refused.</summary>
    public static bool TryParse(string? text, out Digest digest) => throw new NotImplementedException();

    /// <summary>Parses or throws <see cref="FormatException"/>.</summary>
    public static Digest Parse(string text) => throw new NotImplementedException();

    /// <summary>The SHA-256 digest of some bytes.</summary>
    public static Digest OfSha256(ReadOnlySpan<byte> bytes) => throw new NotImplementedException();

    /// <summary>"algorithm:hex".</summary>
    public override string ToString() => $"{Algorithm}:{Hex}";
}
