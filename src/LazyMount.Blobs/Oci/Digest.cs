using System.Buffers;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace LazyMount.Blobs.Oci;

/// <summary>A content digest, "algorithm:hex" (image-spec v1.1, descriptor.md "Digests"). sha256 and sha512 are known; hex is lower case.</summary>
[JsonConverter(typeof(DigestConverter))]
public readonly record struct Digest
{
    private static readonly SearchValues<char> s_lowerHex = SearchValues.Create("0123456789abcdef");

    private Digest(string algorithm, string hex) => (Algorithm, Hex) = (algorithm, hex);

    /// <summary>"sha256" or "sha512".</summary>
    public string Algorithm { get; }

    /// <summary>The hash in lower-case hex.</summary>
    public string Hex { get; }

    /// <summary>Parses; anything but a registered algorithm with lower-case hex of the right length is refused.</summary>
    public static bool TryParse(string? text, out Digest digest)
    {
        digest = default;
        if (text is null || text.IndexOf(':') is var colon && colon < 0)
        {
            return false;
        }
        string? algorithm = text.AsSpan(0, colon) switch
        {
            "sha256" => "sha256",
            "sha512" => "sha512",
            _ => null,
        };
        ReadOnlySpan<char> hex = text.AsSpan(colon + 1);
        if (algorithm is null || hex.Length != (algorithm == "sha256" ? 64 : 128) || hex.ContainsAnyExcept(s_lowerHex))
        {
            return false;
        }
        digest = new Digest(algorithm, hex.ToString());
        return true;
    }

    /// <summary>Parses the hex alone, as files are named: how many digits there are says which algorithm it is.</summary>
    public static bool TryParseHex(string hex, out Digest digest) => TryParse($"{(hex.Length == 128 ? "sha512" : "sha256")}:{hex}", out digest);

    /// <summary>The SHA-256 digest of some bytes.</summary>
    public static Digest OfSha256(ReadOnlySpan<byte> bytes) => FromSha256(SHA256.HashData(bytes));

    /// <summary>The digest that a SHA-256 hash, of 32 bytes, makes.</summary>
    public static Digest FromSha256(ReadOnlySpan<byte> hash)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(hash.Length, SHA256.HashSizeInBytes, nameof(hash));
        return new("sha256", Convert.ToHexStringLower(hash));
    }

    /// <summary>Starts hashing with this digest's algorithm; compare the result with <see cref="IsHash"/>.</summary>
    public IncrementalHash StartHash()
        => IncrementalHash.CreateHash(Algorithm == "sha512" ? HashAlgorithmName.SHA512 : HashAlgorithmName.SHA256);

    /// <summary>True when <paramref name="hash"/> is the hash that this digest names.</summary>
    public bool IsHash(ReadOnlySpan<byte> hash)
    {
        Debug.Assert(Hex is not null, "a default Digest names nothing");
        return Convert.ToHexStringLower(hash) == Hex;
    }

    /// <summary>True when <paramref name="content"/> is what this digest names.</summary>
    public bool Verifies(ReadOnlySpan<byte> content)
        => IsHash(Algorithm == "sha512" ? SHA512.HashData(content) : SHA256.HashData(content));

    /// <summary>"algorithm:hex".</summary>
    public override string ToString() => $"{Algorithm}:{Hex}";
}

/// <summary>Reads and writes a digest as its text; a malformed one is malformed JSON.</summary>
public sealed class DigestConverter : JsonConverter<Digest>
{
    /// <inheritdoc/>
    public override Digest Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        => reader.TokenType == JsonTokenType.String && Digest.TryParse(reader.GetString(), out Digest digest)
            ? digest
            : throw new JsonException("not a digest");

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, Digest value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}
