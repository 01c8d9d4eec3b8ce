using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Layers;

/// <summary>
/// Holds an index that others made against one that was built from the whole, verified layer: the same entries, and for every
/// file the same bytes read through both.
/// </summary>
/// <param name="believed">The index in use.</param>
/// <param name="believedLayer">The layer, read by it.</param>
/// <param name="built">The index built here.</param>
/// <param name="builtLayer">The layer, read by that.</param>
internal sealed class IndexComparison(LayerIndex believed, Layer believedLayer, LayerIndex built, Layer builtLayer)
{
    /// <summary>Null when they agree, else the first difference as the end of a sentence.</summary>
    public async Task<string?> FindDifferenceAsync(CancellationToken cancellationToken)
    {
        if (believed.Entries.Length != built.Entries.Length)
        {
            return $"it has {believed.Entries.Length} entries, but the layer has {built.Entries.Length}";
        }
        for (int i = 0; i < built.Entries.Length; i++)
        {
            byte[] path = built.Paths.PathOf(built.Entries[i].Path);
            if (!path.AsSpan().SequenceEqual(believed.Paths.PathOf(believed.Entries[i].Path)) || !IsSame(believed.Entries[i], built.Entries[i]))
            {
                return $"its entry {i} differs from the layer's {TarText.Quote(path)}";
            }
        }
        for (int i = 0; i < built.Entries.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (built.Entries[i].Type == EntryType.File && !await HasSameBytesAsync(believed.Entries[i], built.Entries[i], cancellationToken).ConfigureAwait(false))
            {
                return $"the bytes of {TarText.Quote(built.Paths.PathOf(built.Entries[i].Path))} differ";
            }
        }
        return null;
    }

    // Tables of contents have whole seconds, rounded.
    private bool IsSame(in LayerEntry a, in LayerEntry b)
        => a.Type == b.Type && a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Size == b.Size
            && a.DeviceMajor == b.DeviceMajor && a.DeviceMinor == b.DeviceMinor
            && (a.MtimeNanoseconds == b.MtimeNanoseconds ? a.MtimeSeconds == b.MtimeSeconds : a.MtimeNanoseconds == 0 && Math.Abs(a.MtimeSeconds - b.MtimeSeconds) <= 1)
            && (a.LinkPath < 0 ? b.LinkPath < 0 : b.LinkPath >= 0 && believed.Paths.PathOf(a.LinkPath).AsSpan().SequenceEqual(built.Paths.PathOf(b.LinkPath)))
            && (a.LinkTarget < 0 || believed.LinkTargets[a.LinkTarget].Span.SequenceEqual(built.LinkTargets[b.LinkTarget].Span))
            && IsSame(a.XattrSet < 0 ? [] : believed.XattrSets[a.XattrSet], b.XattrSet < 0 ? [] : built.XattrSets[b.XattrSet]);

    private static bool IsSame(Xattr[] a, Xattr[] b)
    {
        for (int i = 0; i < a.Length; i++)
        {
            if (a.Length != b.Length || !a[i].Name.Span.SequenceEqual(b[i].Name.Span) || !a[i].Value.Span.SequenceEqual(b[i].Value.Span))
            {
                return false;
            }
        }
        return a.Length == b.Length;
    }

    // Holes are compared as the zeros that they are, so that an index which knows none agrees with one that does.
    private async Task<bool> HasSameBytesAsync(LayerEntry a, LayerEntry b, CancellationToken cancellationToken)
    {
        for (long offset = 0; offset < a.Size;)
        {
            (SpanLease leaseA, int startA, long lengthA) = await ReadAsync(believed, believedLayer, a, offset, cancellationToken).ConfigureAwait(false);
            using (leaseA)
            {
                (SpanLease leaseB, int startB, long lengthB) = await ReadAsync(built, builtLayer, b, offset, cancellationToken).ConfigureAwait(false);
                using SpanLease heldB = leaseB;
                int length = (int)Math.Min(Math.Min(lengthA, lengthB), 1 << 20);
                if (!AreEqual(leaseA, startA, leaseB, startB, length))
                {
                    return false;
                }
                offset += length;
            }
        }
        return true;
    }

    private static bool AreEqual(SpanLease a, int startA, SpanLease b, int startB, int length)
        => (a.IsHeld, b.IsHeld) switch
        {
            (false, false) => true,
            (false, true) => !b.Bytes.Slice(startB, length).ContainsAnyExcept((byte)0),
            (true, false) => !a.Bytes.Slice(startA, length).ContainsAnyExcept((byte)0),
            (true, true) => a.Bytes.Slice(startA, length).SequenceEqual(b.Bytes.Slice(startB, length)),
        };

    // The span that holds a byte of a file, where it stands in it, and how many bytes follow there; no span for a hole.
    private static async Task<(SpanLease Lease, int Start, long Length)> ReadAsync(LayerIndex index, Layer layer, LayerEntry entry, long offset, CancellationToken cancellationToken)
    {
        long at = entry.DataOffset + offset, wanted = entry.Size - offset;
        if (entry.SparseMap > 0)
        {
            SparseMap map = index.SparseMaps[entry.SparseMap - 1];
            (long stored, long end) = map.Find(offset);
            end = Math.Min(end, entry.Size);
            if (stored < 0)
            {
                return (default, 0, end - offset);
            }
            (at, wanted) = (entry.DataOffset + stored, end - offset);
        }
        SpanLease span = await layer.GetSpanAsync(at, cancellationToken).ConfigureAwait(false);
        int start = (int)(at - span.UncompressedOffset);
        return (span, start, Math.Min(wanted, span.Length - start));
    }
}
