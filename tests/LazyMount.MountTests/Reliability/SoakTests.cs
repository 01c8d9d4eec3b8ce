using System.Diagnostics;
using System.Globalization;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Reliability;

/// <summary>
/// One mount that is read from for a long time while its registry has bad days and good ones: $LAZYMOUNT_SOAK_SECONDS (two minutes),
/// seed $LAZYMOUNT_SEED. scripts/soak runs it alone.
/// </summary>
public sealed class SoakTests(FaultyImage image) : IClassFixture<FaultyImage>, IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly List<DaemonSize> _sizes = [];

    public void Dispose() => _lazymount.Dispose();

    [Fact]
    public void ReadsGoOn_WithNoWrongByte_NoHang_AndTheSameMemory()
    {
        int seed = Variable("LAZYMOUNT_SEED", 1);
        var time = TimeSpan.FromSeconds(Variable("LAZYMOUNT_SOAK_SECONDS", 120));
        var random = new Random(seed);
        using var proxy = new FaultProxy(image.Registry.Host, seed);
        string log = _lazymount.Directory["log"];
        string mount = _lazymount.Mount(FaultyImage.At(proxy.Host), "--no-keep", "--read-timeout", $"{FaultyReading.ReadTimeout}s", "--index-trust", "bound", "--log-file", log);
        int daemon = Assert.Single(LazyMountCli.WorkersOf(mount));
        var reading = new FaultyReading(_lazymount, mount, image.Tree, seed);
        var clock = Stopwatch.StartNew();
        string? failure = null;
        int days = 0, restarts = 0;
        for (; failure is null && clock.Elapsed < time; days++)
        {
            // A bad day, on some of which the registry is started again, and a good one, on which everything is right at once.
            proxy.Rate = 0.02 + 0.4 * random.NextDouble();
            bool willRestart = days % 3 == 2;
            var restart = Stopwatch.StartNew();
            failure = reading.Run(TimeSpan.FromSeconds(12), watch: () =>
            {
                _sizes.Add(DaemonSize.Of(daemon));
                if (willRestart && restart.Elapsed > TimeSpan.FromSeconds(6))
                {
                    willRestart = false;
                    restarts++;
                    image.Registry.Restart();
                }
            });
            proxy.Rate = 0;
            failure ??= reading.ReadAll() is { } left ? $"after the faults: {left}" : null;
            if (days % 5 == 4)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{clock.Elapsed:hh\\:mm\\:ss} {reading}; {_sizes[^1]}");
            }
        }

        string faults = string.Join(", ", proxy.Counts.Where(count => count.Key != Fault.None).Select(count => $"{count.Key} {count.Value}"));
        DaemonSize warm = DaemonSize.Median(_sizes[(_sizes.Count / 4)..(_sizes.Count / 2)]), end = DaemonSize.Median(_sizes[(_sizes.Count * 3 / 4)..]);
        string summary = string.Create(CultureInfo.InvariantCulture,
            $"seed {seed}, {clock.Elapsed.TotalMinutes:0.0} minutes, {days} times faults and none, {restarts} restarts: {reading}; {proxy.Counts[Fault.None]} answers passed, {proxy.Requests - proxy.Counts[Fault.None]} spoiled: {faults}; the daemon in the second quarter: {warm}, in the last: {end}, at most {_sizes.Max(size => size.Rss) >> 20} MiB");
        TestContext.Current.TestOutputHelper?.WriteLine(summary);
        Assert.True(failure is null, $"{failure}; LAZYMOUNT_SEED={seed} replays it; {summary}; the end of the log:\n{string.Join('\n', File.ReadLines(log).TakeLast(40))}");
        Assert.True(reading.Reads > 100, summary);
        Assert.True(end.Rss <= warm.Rss * 1.15 + (16 << 20), $"memory grows: {summary}");
        Assert.True(end.Descriptors <= warm.Descriptors + 40, $"descriptors leak: {summary}");
        Assert.True(end.Threads <= warm.Threads + 16, $"threads leak: {summary}");
    }

    private static int Variable(string name, int otherwise)
        => Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;

    /// <summary>What the daemon takes of the machine.</summary>
    private sealed record DaemonSize(long Rss, int Descriptors, int Threads)
    {
        public static DaemonSize Of(int process)
        {
            string[] status = File.ReadAllLines($"/proc/{process}/status");
            long Value(string name) => long.Parse(status.First(line => line.StartsWith(name, StringComparison.Ordinal)).Split(':')[1].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
            return new DaemonSize(Value("VmRSS:") << 10, Directory.GetFiles($"/proc/{process}/fd").Length, (int)Value("Threads:"));
        }

        public static DaemonSize Median(IReadOnlyList<DaemonSize> sizes) => new(
            sizes.Select(size => size.Rss).Order().ElementAt(sizes.Count / 2),
            sizes.Select(size => size.Descriptors).Order().ElementAt(sizes.Count / 2),
            sizes.Select(size => size.Threads).Order().ElementAt(sizes.Count / 2));

        public override string ToString() => $"{Rss >> 20} MiB, {Descriptors} descriptors, {Threads} threads";
    }
}
