using System.Buffers.Binary;
using System.Security.Cryptography;
using LazyMount.Blobs.Cache;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>
/// What a file's bytes are, as far as an index tells without reading them: files of equal identities have equal bytes. Files of different
/// identities may have equal bytes too, when their chunks differ.
/// </summary>
/// <param name="Hash">Of the digests of the file's chunks.</param>
/// <param name="Size">Bytes of the file, holes included.</param>
internal readonly record struct ContentIdentity(UInt128 Hash, long Size)
{
    /// <summary>The identity of a file's content; null when the layer's index has no digests of it.</summary>
    public static ContentIdentity? Of(LayerIndex layer, in LayerEntry file)
    {
        if (file.Size == 0)
        {
            return default(ContentIdentity);
        }
        if (layer.Proof.Ranges is not { OfCompressed: false } ranges)
        {
            return null;
        }
        SparseMap? map = file.SparseMap > 0 ? layer.SparseMaps[file.SparseMap - 1] : null;
        Span<byte> hash = stackalloc byte[ChunkDigests.DigestSize];
        if (!ranges.TryIdentify(file.DataOffset, map?.StoredSize ?? file.Size, hash))
        {
            return null;
        }
        if (map is not null)
        {
            using var holes = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            holes.AppendData(hash);
            Span<byte> extent = stackalloc byte[16];
            for (int i = 0; i < map.Count; i++)
            {
                BinaryPrimitives.WriteInt64LittleEndian(extent, map[i].Offset);
                BinaryPrimitives.WriteInt64LittleEndian(extent[8..], map[i].Stored);
                holes.AppendData(extent);
            }
            holes.GetHashAndReset(hash);
        }
        return new ContentIdentity(BinaryPrimitives.ReadUInt128BigEndian(hash), file.Size);
    }

    /// <summary>Whether two files' bytes are known to be equal.</summary>
    public static bool AreEqual(LayerIndex layer, in LayerEntry file, LayerIndex otherLayer, in LayerEntry other)
        => file.Size == other.Size
            && ((layer.Digest == otherLayer.Digest && file.DataOffset == other.DataOffset && file.SparseMap == other.SparseMap)
                || (Of(layer, file) is { } identity && Of(otherLayer, other) == identity));
}
