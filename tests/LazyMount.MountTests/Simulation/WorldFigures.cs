using System.Collections.Concurrent;
using System.Globalization;

namespace LazyMount.MountTests.Simulation;

/// <summary>What was done and seen, in one world or in many. Thread-safe.</summary>
internal sealed class WorldFigures
{
    private readonly ConcurrentDictionary<string, long> _counts = new();
    private long _longest;

    public long this[string name] => _counts.GetValueOrDefault(name);

    /// <summary>The longest operation.</summary>
    public TimeSpan Longest => TimeSpan.FromTicks(Interlocked.Read(ref _longest));

    /// <summary>Everything that was broken by intent, kills left out.</summary>
    public long Faults => _counts.Where(count => count.Key.StartsWith("fault: ", StringComparison.Ordinal)).Sum(count => count.Value);

    public void Count(string name, long number = 1) => _counts.AddOrUpdate(name, number, (_, old) => old + number);

    public void Keep(string name, long most) => _counts.AddOrUpdate(name, most, (_, old) => Math.Max(old, most));

    public void Took(TimeSpan time)
    {
        for (long now = Interlocked.Read(ref _longest); time.Ticks > now;)
            now = Interlocked.CompareExchange(ref _longest, time.Ticks, now) is var seen && seen == now ? time.Ticks : seen;
    }

    public void Add(WorldFigures other)
    {
        foreach ((string name, long count) in other._counts)
        {
            if (name.StartsWith("most ", StringComparison.Ordinal))
                Keep(name, count);
            else
                Count(name, count);
        }
        Took(other.Longest);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{string.Join(", ", _counts.OrderBy(count => count.Key, StringComparer.Ordinal).Select(count => $"{count.Key} {count.Value}"))}; faults in all {Faults}; longest operation {Longest.TotalSeconds:0.0} s");
}
