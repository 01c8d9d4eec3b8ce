using System.Globalization;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Reliability;

/// <summary>
/// A mount whose registry is behind a proxy that spoils answers as a seed draws it. $LAZYMOUNT_SEED replays the seed that a failure
/// names, alone.
/// </summary>
public sealed class SimulatorTests(FaultyImage image) : IClassFixture<FaultyImage>, IDisposable
{
    private readonly LazyMountCli _lazymount = new();

    public static TheoryData<int> Seeds { get; } =
        Environment.GetEnvironmentVariable("LAZYMOUNT_SEED") is { Length: > 0 } seed ? new(int.Parse(seed, CultureInfo.InvariantCulture)) : new(1, 2, 3, 4, 5, 6);

    public void Dispose() => _lazymount.Dispose();

    [Theory]
    [MemberData(nameof(Seeds))]
    public void ReadsUnderFaults_AreRightOrFail_AndHealAtOnce(int seed)
    {
        // The seed draws how many faults there are and of which kinds, too. Where the headers of a tar alone were read, nothing
        // tells a wrong byte from a right one: half of the seeds have such a layer and no fault that is a lie of the right length.
        var random = new Random(seed);
        bool isBound = seed % 2 == 0;
        Fault[] kinds = [.. Enum.GetValues<Fault>().Where(kind => kind != Fault.None && (isBound || kind is not (Fault.CorruptByte or Fault.WrongRange)))];
        random.Shuffle(kinds);
        kinds = kinds[..random.Next(3, kinds.Length + 1)];
        double rate = 0.1 + 0.5 * random.NextDouble();

        using var proxy = new FaultProxy(image.Registry.Host, seed, kinds);
        string log = _lazymount.Directory["log"];
        string mount = _lazymount.Mount(FaultyImage.At(proxy.Host), "--no-keep", "--read-timeout", $"{FaultyReading.ReadTimeout}s", "--index-trust", isBound ? "bound" : "auto", "--log-file", log);
        var reading = new FaultyReading(_lazymount, mount, image.Tree, seed);
        proxy.Rate = rate;
        string? failure = reading.Run(TimeSpan.FromSeconds(8));
        proxy.Rate = 0;
        failure ??= reading.ReadAll() is { } left ? $"after the faults: {left}" : null;

        string faults = string.Join(", ", proxy.Counts.Where(count => count.Value > 0).Select(count => $"{count.Key} {count.Value}"));
        string summary = $"seed {seed}, rate {rate:0.00}: {reading}; answers: {faults}";
        TestContext.Current.TestOutputHelper?.WriteLine(summary);
        Assert.True(failure is null, $"{failure}; LAZYMOUNT_SEED={seed} replays it; {summary}; the end of the log:\n{string.Join('\n', File.ReadLines(log).TakeLast(40))}");
        Assert.True(reading.Reads > 0, summary);
        Assert.DoesNotContain("Exception", File.ReadAllText(log), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void OpeningUnderFaults_WorksOrFailsWithASentence(int seed)
    {
        (string path, byte[] content) = image.Tree.Layers[1][7];
        using var proxy = new FaultProxy(image.Registry.Host, seed) { Rate = 0.3 };
        string[] command = ["cat", FaultyImage.At(proxy.Host), path];
        for (int run = 0; run < 3; run++)
        {
            ToolResult result = _lazymount.Run(command);
            if (result.ExitCode == 0)
            {
                Assert.Equal(content, result.OutputBytes);
                Directory.Delete(_lazymount.CacheDirectory, recursive: true);
            }
            else
            {
                Assert.True(content.AsSpan().StartsWith(result.OutputBytes));
                string sentence = Assert.Single(result.Error.TrimEnd('\n').Split('\n'));
                Assert.StartsWith("lazymount: ", sentence, StringComparison.Ordinal);
                Assert.DoesNotContain("Exception", sentence, StringComparison.Ordinal);
                Assert.True(result.ExitCode is 1 or 3, $"exit code {result.ExitCode}: {sentence}");
            }
        }
        proxy.Rate = 0;
        Assert.Equal(content, _lazymount.Run(command).EnsureSuccess().OutputBytes);
    }
}
