using System.Globalization;
using System.Text;

namespace LazyMount.Exporting;

/// <summary>How a file with holes stands in a tar: its map, filled up to whole blocks, and the runs of bytes that follow.</summary>
internal sealed record SparseLayout(byte[] Map, IReadOnlyList<(long Offset, long Length)> Runs)
{
    // Go's archive/tar, and with it docker, refuses larger ones.
    private const int MaxMap = 1 << 20;

    /// <summary>Keeps the holes, or so many of the largest that the map is not too large; others are written as zeros.</summary>
    public static SparseLayout Of(IReadOnlyList<(long Offset, long At, long Length)> extents, long size)
    {
        for (long smallestHole = 1; ; smallestHole *= 2)
        {
            var runs = new List<(long Offset, long Length)>();
            foreach ((long offset, _, long length) in extents)
            {
                if (runs.Count > 0 && offset - (runs[^1].Offset + runs[^1].Length) < smallestHole)
                {
                    runs[^1] = (runs[^1].Offset, offset + length - runs[^1].Offset);
                }
                else
                {
                    runs.Add((offset, length));
                }
            }
            byte[] map = MapOf(runs, size);
            if (map.Length <= MaxMap)
            {
                return new SparseLayout(map, runs);
            }
        }
    }

    private static byte[] MapOf(List<(long Offset, long Length)> runs, long size)
    {
        // An empty run at the end says where the file ends, as GNU tar writes it.
        bool endsInHole = runs.Count == 0 || runs[^1].Offset + runs[^1].Length < size;
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{runs.Count + (endsInHole ? 1 : 0)}\n");
        foreach ((long offset, long length) in runs)
        {
            text.Append(CultureInfo.InvariantCulture, $"{offset}\n{length}\n");
        }
        if (endsInHole)
        {
            text.Append(CultureInfo.InvariantCulture, $"{size}\n0\n");
        }
        text.Append('\0', -text.Length & (PaxWriter.BlockSize - 1));
        return Encoding.ASCII.GetBytes(text.ToString());
    }
}
