using LazyMount.Blobs.Counting;
using LazyMount.Cli;
using LazyMount.Commands;
using LazyMount.Metrics;
using LazyMount.Output;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Mounting;

/// <summary>Counters and their text.</summary>
public sealed class MetricsTests
{
    /// <summary>docs/metrics.md has every metric, as it is served, and no other.</summary>
    [Fact]
    public void Documentation_HasEveryMetric()
    {
        string[] rows = [.. File.ReadLines(Path.Combine(RepositoryRoot.Path, "docs", "metrics.md")).Where(line => line.StartsWith("| `lazymount_", StringComparison.Ordinal))];
        Assert.Equal(MetricsText.Metrics.Select(metric => $"{metric.Name} {metric.Type} {metric.Labels} {metric.Help}"), rows.Select(Read));

        static string Read(string row)
        {
            string[] cells = [.. row.Split('|')[1..^1].Select(cell => cell.Trim().Trim('`'))];
            string unit = cells[0].EndsWith("_seconds", StringComparison.Ordinal) ? "seconds" : cells[0].Split('_')[^2];
            Assert.True(cells[2] == unit || (cells[0].Contains("restarts", StringComparison.Ordinal) && cells[2] == "processes"), row);
            return $"{cells[0]} {cells[1]} {cells[3]} {cells[4]}";
        }
    }

    /// <summary>Memory of an earlier version of the program goes on to be used: what stands where never changes, it only grows.</summary>
    [Fact]
    public void Places_DoNotChange()
    {
        Assert.Equal(
            ["FetchedBytes=0", "DecodedBytes=1", "ServedBytes=2", "SpanHits=3", "SpanMisses=4", "ChunkHits=5", "ChunkMisses=6", "FailedRequests=7", "FailedFetches=8", "DeathRestarts=9", "WantedRestarts=10"],
            Enum.GetValues<Counter>().Select(counter => $"{counter}={(int)counter}"));
        Assert.Equal(["Read=0", "Fetch=1"], Enum.GetValues<Wait>().Select(wait => $"{wait}={(int)wait}"));
        long[] memory = new long[ServingCounters.Slots];
        var counters = new ServingCounters(memory);
        counters.CountRequest(15);
        counters.CountRequest(4096); // CUSE_INIT: none of ours
        counters.Add(Counter.WantedRestarts, 3);
        counters.AddWait(Wait.Fetch, 0); // longer than every bound
        Assert.Equal((1, 1, 3, 1), (memory[15], memory[0], memory[64 + 10], memory[128 + 32 + 16]));
        Assert.Equal(16, ServingCounters.Bounds.Count);
        Assert.True(memory[128 + 32 + 17] > 0);
        Assert.Equal(1, new ServingCounters(memory).Requests(15));
    }

    [Fact]
    public void Waits_AreCountedUpToTheirBound()
    {
        var counters = new ServingCounters();
        counters.AddWait(Wait.Read, System.Diagnostics.Stopwatch.GetTimestamp());
        counters.AddWait(Wait.Read, 0);
        (long[] counts, TimeSpan sum) = counters.Waits(Wait.Read);
        Assert.Equal((2, 1), (counts.Sum(), counts[^1]));
        Assert.True(sum > ServingCounters.Bounds[^1]);
        string[] text = MetricsText.Of(counters).Split('\n');
        Assert.Contains("""lazymount_read_wait_seconds_bucket{le="60"} 1""", text);
        Assert.Contains("""lazymount_read_wait_seconds_bucket{le="+Inf"} 2""", text);
        Assert.Contains("lazymount_read_wait_seconds_count 2", text);
        Assert.Contains("""lazymount_read_wait_seconds_bucket{le="0.0005"}""", string.Join('\n', text), StringComparison.Ordinal);
    }

    [Fact]
    public void Counting_DoesNotAllocate_AndLosesNothing()
    {
        // What the runtime makes now and then for code that it compiles anew is not meant.
        Assert.Contains(0, Enumerable.Range(0, 5).Select(_ => Allocated(new ServingCounters())));
        var counters = new ServingCounters();
        Parallel.For(0, 4, _ =>
        {
            for (int i = 0; i < 100_000; i++)
                counters.Add(Counter.ServedBytes, 7);
        });
        Assert.Equal(7 * 400_000, counters[Counter.ServedBytes]);

        static long Allocated(ServingCounters counters)
        {
            counters.Add(Counter.ServedBytes);
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                counters.CountRequest(15);
                counters.Add(Counter.ServedBytes, 7);
                counters.AddWait(Wait.Read, 0);
            }
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    /// <summary>`list -v`: a value a line, and no line for what is not known.</summary>
    [Fact]
    public void Figures_AreAValueALine()
    {
        MountListing foreign = new() { MountPoint = "/other", Image = "oci:/x:y", State = "alive", Face = "fuse" };
        MountListing own = foreign with
        {
            MountPoint = "/mnt",
            Image = "docker.io/library/debian:12",
            Since = new DateTime(2026, 1, 31, 12, 0, 0, DateTimeKind.Utc),
            Proof = "layer",
            Pid = 11,
            Worker = 12,
            Restarts = 0,
            FetchedBytes = 1_000_000,
            DecodedBytes = 4_000_000,
            ServedBytes = 3_000_000,
            CachedShare = 0.256,
            LastError = new ErrorListing { Time = new DateTime(2026, 1, 31, 12, 0, 1, DateTimeKind.Utc), Path = "/a\u001Bb", Message = "no bytes" },
            LogFile = "/log",
        };
        string text = CommandRun.Written(output => ListCommand.WriteFigures(output, [own, foreign]));
        Assert.Equal(string.Join('\n',
            "/mnt", "  image       docker.io/library/debian:12", "  state       alive", "  since       2026-01-31 12:00:00", "  face        fuse", "  proof       layer", "  keeper      11", "  worker      12",
            "  restarts    0", "  fetched     1000000", "  decoded     4000000", "  served      3000000", "  cached      25.6 %", "  last error  2026-01-31 12:00:01 /a?b: no bytes", "  log         /log",
            "", "/other", "  image       oci:/x:y", "  state       alive", "  face        fuse", ""), text);
        Assert.All(text.Split('\n'), line => Assert.True(line.Length <= 80, line));
    }

    [Fact]
    public void NextChange_IsToldOnce()
    {
        var counters = new ServingCounters();
        int told = 0;
        counters.OnNextChange(() => told++);
        counters.CountRequest(1); // a walk over names changes nothing that is noted
        Assert.Equal(0, told);
        counters.Add(Counter.FetchedBytes);
        counters.Note("'/x'", "no reason");
        Assert.Equal(1, told);
        Assert.Equal("no reason", counters.LastFailure!.Reason);
    }

    [Theory]
    [InlineData("9100", "127.0.0.1:9100")]
    [InlineData(":9100", "127.0.0.1:9100")]
    [InlineData("localhost:1", "127.0.0.1:1")]
    [InlineData("0.0.0.0:65535", "0.0.0.0:65535")]
    [InlineData("[::1]:9100", "[::1]:9100")]
    [InlineData("unix:/run/x.sock", "unix:/run/x.sock")]
    public void Addresses_AreRead(string text, string expected) => Assert.Equal(expected, MetricsAddress.Parse(text).ToString());

    [Theory]
    [InlineData("", "'' is no port from 1 to 65535")]
    [InlineData("0", "'0' is no port")]
    [InlineData("65536", "'65536' is no port")]
    [InlineData("-1", "'-1' is no port")]
    [InlineData("example.com:9100", "'example.com' is no IP address")]
    [InlineData("1:9100", "'1' is no IP address")]
    [InlineData("::1:9100", "'::1' is no IP address")]
    [InlineData("127.1:9100", "'127.1' is no IP address")]
    [InlineData("unix:", "it names no file")]
    public void OtherAddresses_AreRefused(string text, string reason)
        => Assert.Contains(reason, Assert.Throws<UsageException>(() => MetricsAddress.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void LongPaths_AreRefused()
        => Assert.Contains("107 bytes", Assert.Throws<UsageException>(() => MetricsAddress.Parse($"unix:/{new string('x', 107)}")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("localhost", true)]
    [InlineData("LOCALHOST:9100", true)]
    [InlineData("127.0.0.1", true)]
    [InlineData("[fe80::1]:80", true)]
    [InlineData("", false)]
    [InlineData("metrics", false)]
    [InlineData("localhost.example", false)]
    [InlineData("1", false)]
    [InlineData("[::1].example", false)]
    public void Hosts_AreTrustedByAddress(string host, bool isTrusted) => Assert.Equal(isTrusted, MetricsAddress.IsTrustedHost(host));
}
