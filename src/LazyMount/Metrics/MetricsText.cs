using System.Globalization;
using System.Text;
using LazyMount.Blobs.Counting;
using LazyMount.Fuse;

namespace LazyMount.Metrics;

/// <summary>The counters of a mount in Prometheus' text format. No label tells anything of what is in the image.</summary>
internal static class MetricsText
{
    /// <summary>The content type.</summary>
    public const string MediaType = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>A metric that only grows, and its series: labels, and where the number is.</summary>
    private sealed record Total(string Name, string Help, IReadOnlyList<(string Labels, Func<ServingCounters, long> Read)> Series);

    private static readonly Total[] s_totals =
    [
        new("lazymount_requests_total", "Requests of the kernel, by kind.",
        [
            .. RequestKinds.Usual.Select(kind => ($$"""{kind="{{kind.Name}}"}""", (Func<ServingCounters, long>)(counters => counters.Requests(kind.Operation)))),
            ("""{kind="other"}""", OtherRequests),
        ]),
        Of(Counter.FailedRequests, "lazymount_failed_requests_total", "Requests of the kernel that were answered with EIO."),
        Of(Counter.ServedBytes, "lazymount_served_bytes_total", "Bytes of files that were given to the kernel."),
        Of(Counter.DecodedBytes, "lazymount_decoded_bytes_total", "Bytes of layers that were decoded for reads."),
        Of(Counter.FetchedBytes, "lazymount_fetched_bytes_total", "Bytes of the bodies of answers of registries."),
        new("lazymount_spans_total", "Decoded spans that were wanted: in memory (hit), or not (miss).", [(Hit, counters => counters[Counter.SpanHits]), (Miss, counters => counters[Counter.SpanMisses])]),
        new("lazymount_chunks_total", "Chunks of layers that were wanted: read from the cache on disk (hit), or fetched (miss).", [(Hit, counters => counters[Counter.ChunkHits]), (Miss, counters => counters[Counter.ChunkMisses])]),
        Of(Counter.FailedFetches, "lazymount_failed_fetches_total", "Fetches of chunks that failed."),
        new("lazymount_restarts_total", "Processes that went on with the mount: after one that died (death), or in place of a living one (restart).",
            [("""{kind="death"}""", counters => counters[Counter.DeathRestarts]), ("""{kind="restart"}""", counters => counters[Counter.WantedRestarts])]),
    ];

    private static readonly (Wait Wait, string Name, string Help)[] s_waits =
    [
        (Wait.Read, "lazymount_read_wait_seconds", "How long reads waited whose bytes were not in memory."),
        (Wait.Fetch, "lazymount_fetch_seconds", "How long fetches of chunks took."),
    ];

    private const string Hit = """{result="hit"}""", Miss = """{result="miss"}""";

    /// <summary>Name, type, labels and help of every metric.</summary>
    public static IEnumerable<(string Name, string Type, string Labels, string Help)> Metrics =>
    [
        .. s_totals.Select(total => (total.Name, "counter", total.Series[0].Labels.Split('=')[0].TrimStart('{'), total.Help)),
        .. s_waits.Select(wait => (wait.Name, "histogram", "le", wait.Help)),
    ];

    /// <summary>The text.</summary>
    public static string Of(ServingCounters counters)
    {
        var text = new StringBuilder();
        foreach (Total total in s_totals)
        {
            Begin(text, total.Name, "counter", total.Help);
            foreach ((string labels, Func<ServingCounters, long> read) in total.Series)
            {
                Line(text, $"{total.Name}{labels}", read(counters));
            }
        }
        foreach ((Wait wait, string name, string help) in s_waits)
        {
            Begin(text, name, "histogram", help);
            (long[] counts, TimeSpan sum) = counters.Waits(wait);
            long within = 0;
            for (int i = 0; i < counts.Length; i++)
            {
                within += counts[i];
                string bound = i < ServingCounters.Bounds.Count ? ServingCounters.Bounds[i].TotalSeconds.ToString(CultureInfo.InvariantCulture) : "+Inf";
                Line(text, $$"""{{name}}_bucket{le="{{bound}}"}""", within);
            }
            text.Append(CultureInfo.InvariantCulture, $"{name}_sum {sum.TotalSeconds}\n");
            Line(text, $"{name}_count", within);
        }
        return text.ToString();
    }

    private static long OtherRequests(ServingCounters counters)
        => Enumerable.Range(0, ServingCounters.Operations).Except(RequestKinds.Usual.Select(kind => kind.Operation)).Sum(counters.Requests);

    private static Total Of(Counter counter, string name, string help) => new(name, help, [("", counters => counters[counter])]);

    private static void Begin(StringBuilder text, string name, string type, string help) => text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");

    private static void Line(StringBuilder text, string series, long value) => text.Append(CultureInfo.InvariantCulture, $"{series} {value}\n");
}
