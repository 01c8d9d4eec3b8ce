using LazyMount.Compression;

namespace LazyMount.Indexes.Model;

/// <summary>A layer that is none: one file in a directory, whose bytes come from elsewhere. Everybody may read both.</summary>
internal static class SingleFile
{
    /// <param name="name">The file's name.</param>
    /// <param name="size">Its bytes.</param>
    /// <param name="time">When both were modified.</param>
    public static LayerIndex Index(byte[] name, long size, (long Seconds, uint Nanoseconds) time)
    {
        var file = new LayerEntry { Path = 1, Type = EntryType.File, Mode = 0b100_100_100, Size = size, MtimeSeconds = time.Seconds, MtimeNanoseconds = time.Nanoseconds, LinkPath = -1, LinkTarget = -1, XattrSet = -1 };
        return new LayerIndex
        {
            Digest = default,
            CompressedSize = 0,
            UncompressedSize = 0,
            Format = CompressionFormat.None,
            Proof = Proof.OfParser(ranges: null),
            Checkpoints = new CheckpointTable([0, 0], [0, 0], [0x80], [0], [0], []),
            Paths = new LayerPaths([-1, 0], [0, name.Length], name),
            Entries = [file with { Path = 0, Type = EntryType.Directory, Mode = 0b101_101_101, Size = 0 }, file],
            LinkTargets = [],
            XattrSets = [],
        };
    }
}
