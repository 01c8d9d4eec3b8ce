using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace LazyMount.Node.Metrics;

/// <summary>What is counted.</summary>
internal enum NodeCounter
{
    LayersServed,
    MountsRemade,
    FailedMounts,
    RootsPrepared,
}

/// <summary>Counts what the service does, for Prometheus. No label tells anything of an image.</summary>
internal sealed class NodeCounters
{
    private static readonly (NodeCounter Counter, string Name, string Help)[] s_totals =
    [
        (NodeCounter.LayersServed, "lazymount_node_layers_served_total", "Layers that were not pulled, because they are served lazily."),
        (NodeCounter.RootsPrepared, "lazymount_node_roots_prepared_total", "Root directories of containers, and views, that were made over a lazily served image."),
        (NodeCounter.MountsRemade, "lazymount_node_mounts_remade_total", "Mounts that were found dead and made again."),
        (NodeCounter.FailedMounts, "lazymount_node_failed_mounts_total", "Mounts that could not be made."),
    ];

    private readonly long[] _totals = new long[Enum.GetValues<NodeCounter>().Length];
    private readonly ConcurrentDictionary<string, long> _fallbacks = new();
    private long _mounts, _mountTicks;

    public void Add(NodeCounter counter) => Interlocked.Increment(ref _totals[(int)counter]);

    /// <summary>A layer is pulled as usual.</summary>
    /// <param name="reason">One word.</param>
    public void FellBack(string reason) => _fallbacks.AddOrUpdate(reason, 1, (_, count) => count + 1);

    /// <summary>An image was mounted.</summary>
    public void Mounted(TimeSpan time)
    {
        Interlocked.Increment(ref _mounts);
        Interlocked.Add(ref _mountTicks, time.Ticks);
    }

    /// <summary>The text format of Prometheus.</summary>
    /// <param name="snapshots">Snapshots there are, by kind.</param>
    public string ToText(IEnumerable<(string Kind, int Count)> snapshots)
    {
        var text = new StringBuilder();
        foreach ((NodeCounter counter, string name, string help) in s_totals)
        {
            Metric(name, "counter", help).Append(CultureInfo.InvariantCulture, $"{name} {Interlocked.Read(ref _totals[(int)counter])}\n");
        }
        Metric("lazymount_node_fallbacks_total", "counter", "Layers that were asked for lazily and are pulled as usual, by reason.");
        foreach ((string reason, long count) in _fallbacks.OrderBy(each => each.Key, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"lazymount_node_fallbacks_total{{reason=\"{reason}\"}} {count}\n");
        }
        Metric("lazymount_node_mount_seconds", "summary", "How long it took to mount images.")
            .Append(CultureInfo.InvariantCulture, $"lazymount_node_mount_seconds_sum {TimeSpan.FromTicks(Interlocked.Read(ref _mountTicks)).TotalSeconds}\n")
            .Append(CultureInfo.InvariantCulture, $"lazymount_node_mount_seconds_count {Interlocked.Read(ref _mounts)}\n");
        Metric("lazymount_node_snapshots", "gauge", "Snapshots, by kind.");
        foreach ((string kind, int count) in snapshots)
        {
            text.Append(CultureInfo.InvariantCulture, $"lazymount_node_snapshots{{kind=\"{kind}\"}} {count}\n");
        }
        return text.ToString();

        StringBuilder Metric(string name, string type, string help) => text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
    }
}
