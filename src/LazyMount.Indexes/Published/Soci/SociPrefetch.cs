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

    /// <summary>The ranges of an index's uncompressed bytes, lower priorities first.</summary>
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
                throw new InvalidDataException("its list of spans to fetch first is of a version that is not known");
            }
            int count = index.Proof.Ranges!.Count, lead = index.Checkpoints.Count - count; // the span of a gzip header has no number
            var ranges = new List<(int Priority, PrefetchRange Range)>();
            foreach (JsonElement span in document.RootElement.GetProperty("prefetch_spans").EnumerateArray())
            {
                int first = span.GetProperty("start_span").GetInt32(), last = span.GetProperty("end_span").GetInt32();
                int priority = span.TryGetProperty("priority", out JsonElement given) ? given.GetInt32() : 0;
                if (first < 0 || last < first || last >= count)
                {
                    throw new InvalidDataException("its list of spans to fetch first names spans that there are not");
                }
                ranges.Add((priority, new PrefetchRange(index.Checkpoints.UncompressedOffset(lead + first), index.Checkpoints.UncompressedOffset(lead + last + 1))));
            }
            return [.. ranges.OrderBy(each => each.Priority).Select(each => each.Range)];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException("its list of spans to fetch first is malformed", e);
        }
    }
}
