using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Published.Soci;

namespace LazyMount.Fuzz.Targets;

/// <summary>SOCI's lists of spans to fetch first: refused, or ranges of the layer that fetch no byte twice.</summary>
internal static class PrefetchTarget
{
    private const int Spans = 20, SpanSize = 1000;

    private static readonly LayerIndex s_index = Index();

    public static void Run(byte[] input)
    {
        try
        {
            PrefetchRange[] ranges = SociPrefetch.Read(input, s_index);
            FuzzException.Require(PrefetchRange.AreApart(ranges), "a byte is fetched twice");
            FuzzException.Require(Array.TrueForAll(ranges, range => range.Offset >= 0 && range.End > range.Offset && range.End <= Spans * SpanSize), "a range lies outside");
        }
        catch (InvalidDataException)
        {
        }
    }

    private static LayerIndex Index()
    {
        long[] offsets = [.. Enumerable.Range(0, Spans + 1).Select(i => (long)i * SpanSize)];
        var lengths = new int[Spans];
        lengths.AsSpan().Fill(SpanSize);
        return TreeWalk.Index(new LayerEntriesBuilder(new IndexBudget(IndexLimits.Default)), Spans * SpanSize) with
        {
            Checkpoints = new CheckpointTable(offsets, offsets, [.. Enumerable.Repeat((byte)0x80, Spans)], new int[Spans], new int[Spans], []),
            Proof = Proof.OfParser(new RangeDigests(ofCompressed: true, offsets[..Spans], lengths, new byte[32 * Spans])),
        };
    }

    public static IEnumerable<byte[]> Seeds() => new[]
    {
        """{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":3},{"start_span":2,"end_span":19,"priority":-1},{"start_span":5,"end_span":5,"priority":2147483647}]}""",
        """{"version":"1.0","prefetch_spans":[]}""",
        """{"version":"2.0","prefetch_spans":[{"start_span":-1,"end_span":0}]}""",
    }.Select(Encoding.UTF8.GetBytes);
}
