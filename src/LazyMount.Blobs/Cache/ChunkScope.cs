using System.Text;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// Who looks into a store of a blob's chunks. <see cref="Shared"/>, the default, is for every image of this cache: only bytes that
/// match the blob's own digest go there. Any other scope is for those alone who can name it: its bytes are as good as what its key says.
/// </summary>
public readonly record struct ChunkScope
{
    /// <summary>For everybody.</summary>
    public static ChunkScope Shared => default;

    /// <summary>Hexadecimal name of the scope; null for the shared one.</summary>
    public string? Key { get; private init; }

    /// <summary>True when bytes are kept and read only while all connections of the source are verified.</summary>
    public bool IsVerifiedOnly { get; init; }

    /// <summary>True for the scope of everybody.</summary>
    public bool IsShared => Key is null;

    /// <summary>A scope for those who know all parts.</summary>
    public static ChunkScope Of(params string[] parts) => new() { Key = Digest.OfSha256(Encoding.UTF8.GetBytes(string.Join('\n', parts))).Hex };
}
