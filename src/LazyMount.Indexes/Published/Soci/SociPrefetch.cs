using System.Text.Json;
using LazyMount.Blobs.Oci;
using LazyMount.Indexes.Model;

namespace LazyMount.Indexes.Published.Soci;

/// <summary>What a SOCI index asks to be fetched first of a layer: a JSON list of spans beside its ztoc (docs/prefetch.md of soci-snapshotter).</summary>
internal static class SociPrefetch
{
    /// <summary>Far more than any list of spans needs.</summary>
    public const int MaxSize = 1 << 20;

    private const string MediaType = "application/vnd.amazon.soci.prefetch.v1+json";
    private const string Version = "1.0";

    public static bool Is(Descriptor blob) => blob.MediaType == MediaType;

    /// <summary>
    /// The ranges of an index's uncompressed bytes, lower priorities first. No two of them overlap, so all together fetch the layer
    /// once at most: a span that the list names again is left out.
    /// </summary>
    /// <param name="json">The list.</param>
    /// <param name="index">The index that the ztoc of the same layer gave.</param>
    /// <exception cref="InvalidDataException">It is not such a list, or of other spans.</exception>
    public static PrefetchRange[] Read(ReadOnlyMemory<byte> json, LayerIndex index)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            if (document.RootElement.GetProperty("version").GetString() != Version)
            {
                throw new InvalidDataException("its list of spans to fetch first has an unknown version");
            }
            int count = index.Proof.Ranges!.Count, lead = index.Checkpoints.Count - count; // the span of a gzip header has no number
            var named = new List<(int Priority, int First, int Last)>();
            foreach (JsonElement span in document.RootElement.GetProperty("prefetch_spans").EnumerateArray())
            {
                int first = span.GetProperty("start_span").GetInt32(), last = span.GetProperty("end_span").GetInt32();
                int priority = span.TryGetProperty("priority", out JsonElement given) ? given.GetInt32() : 0;
                if (first < 0 || last < first || last >= count)
                {
                    throw new InvalidDataException("its list of spans to fetch first names spans that do not exist");
                }
                named.Add((priority, first, last));
            }
            return [.. WithoutRepeats(named.OrderBy(each => each.Priority), count)
                .Select(spans => new PrefetchRange(index.Checkpoints.UncompressedOffset(lead + spans.First), index.Checkpoints.UncompressedOffset(lead + spans.Last + 1)))
                .Where(range => range.End > range.Offset)];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException("its list of spans to fetch first is malformed", e);
        }
    }

    // Each span once, in the order of the list.
    private static IEnumerable<(int First, int Last)> WithoutRepeats(IEnumerable<(int Priority, int First, int Last)> named, int count)
    {
        // For each span the next one, itself included, that has not been named; found by halving paths, so a list of thousands of
        // ranges over all spans is no more work than the spans are.
        var next = new int[count + 1];
        for (int i = 0; i <= count; i++)
        {
            next[i] = i;
        }
        foreach ((_, int first, int last) in named)
        {
            for (int at = Next(first); at <= last; at = Next(at))
            {
                int begin = at;
                while (at <= last && next[at] == at)
                {
                    next[at] = ++at;
                }
                yield return (begin, at - 1);
            }
        }

        int Next(int span)
        {
            while (next[span] != span)
            {
                span = next[span] = next[next[span]];
            }
            return span;
        }
    }
}
