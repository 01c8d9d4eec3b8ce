using System.Diagnostics;
using System.Globalization;
using Xunit;

namespace LazyMount.MountTests.Simulation;

/// <summary>
/// Worlds from seeds, one after the other: fixed seeds first, then new ones until $LAZYMOUNT_SIMULATION_SECONDS (three minutes) are over.
/// $LAZYMOUNT_SEED replays one world alone. scripts/simulate runs this test.
/// </summary>
public sealed class WorldTests
{
    private static readonly int[] s_fixed = [1, 2, 3, 4, 721799753, 415659100];

    [Fact]
    public void EveryWorld_GivesRightBytesOrAllowedErrors_AndNothingIsStuck()
    {
        var time = TimeSpan.FromSeconds(Variable("LAZYMOUNT_SIMULATION_SECONDS") ?? 180);
        var clock = Stopwatch.StartNew();
        var all = new WorldFigures();
        IEnumerable<int> seeds = Variable("LAZYMOUNT_SEED") is int seed ? [seed] : s_fixed.Concat(NewSeeds());
        var failures = new List<string>();
        foreach (int each in seeds)
        {
            if (clock.Elapsed >= time && all["worlds"] > 0)
                break;
            using var world = new World(each);
            string? failure = world.Run();
            all.Add(world.Figures);
            TestContext.Current.TestOutputHelper?.WriteLine($"{clock.Elapsed:hh\\:mm\\:ss} {(failure is null ? "right" : "WRONG")} {world}");
            if (failure is not null)
            {
                failures.Add(failure);
                TestContext.Current.TestOutputHelper?.WriteLine(failure);
            }
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{all}");
        Assert.True(failures.Count == 0, $"{failures.Count} worlds of {all["worlds"]}:\n{string.Join("\n\n", failures)}");
    }

    private static IEnumerable<int> NewSeeds()
    {
        while (true)
            yield return Random.Shared.Next(1000, int.MaxValue);
    }

    private static int? Variable(string name)
        => Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
