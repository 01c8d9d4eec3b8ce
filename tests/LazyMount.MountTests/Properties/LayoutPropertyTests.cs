using CsCheck;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Properties;

/// <summary>
/// Processes that pull and push into one OCI layout at the same time, one of which is stopped for a while, stopped until the
/// others have ended, or killed, at random moments: no tag is lost, and no reader fails.
/// </summary>
public sealed class LayoutPropertyTests : IDisposable
{
    private const int SigKill = 9, SigContinue = 18, SigStop = 19;
    private static readonly TimeSpan s_untilTheHolderGoesOn = TimeSpan.FromSeconds(3);

    private readonly LazyMountCli _cli = new();
    private readonly OciLayoutBuilder _source;
    private int _layouts;

    public LayoutPropertyTests()
    {
        _source = new OciLayoutBuilder(_cli.Directory["source"]);
        for (int i = 0; i < 4; i++)
            _source.AddLayer(new TarBytes().File($"file{i}", "content")).WriteImage($"v{i}");
    }

    public enum Fate
    {
        None,
        Paused,
        Stopped,
        Killed,
    }

    public void Dispose() => _cli.Dispose();

    [Fact]
    public void NoTagIsLost_AndNoReaderFails()
        => Gen.Select(Gen.Enum<Fate>(), Gen.Int[0, 60], Gen.Int[1, 80]).Array[2, 3].Sample(fates => Check(fates), iter: 12, threads: 1);

    private void Check((Fate Fate, int AfterMilliseconds, int ForMilliseconds)[] fates)
    {
        string directory = _cli.Directory[$"layout{_layouts++}"], layout = $"oci:{directory}";
        _cli.Run("pull", _source.Reference("v0"), $"{layout}:base").EnsureSuccess();
        var kept = new List<string> { "base" };

        using var ended = new CancellationTokenSource();
        Task reader = Task.Run(() =>
        {
            while (!ended.IsCancellationRequested)
                Assert.Equal("file0\n", _cli.Run("ls", $"{layout}:base").EnsureSuccess().Output);
        });
        Task writer = Task.Run(() =>
        {
            for (int i = 0; i < fates.Length; i++)
                Write(["pull", _source.Reference($"v{i + 1}"), $"{layout}:other{i}"], $"other{i}");
        });
        Task pusher = Task.Run(() => _cli.Run("index", "push", $"{layout}:base").EnsureSuccess());
        for (int i = 0; i < fates.Length; i++)
        {
            (Fate fate, int after, int length) = fates[i];
            using Tool victim = _cli.Start("pull", _source.Reference($"v{i + 1}"), $"{layout}:mine{i}");
            Thread.Sleep(after);
            if (fate == Fate.Killed)
            {
                victim.Signal(SigKill);
            }
            else if (fate != Fate.None)
            {
                victim.Signal(SigStop);
                _ = fate == Fate.Paused ? Task.Delay(length).Wait(length * 2) : Task.WhenAll(writer, pusher).Wait(s_untilTheHolderGoesOn);
                victim.Signal(SigContinue);
            }
            ToolResult result = victim.WaitForExit();
            if (fate != Fate.Killed)
                result.EnsureSuccess();
            if (result.ExitCode == 0)
                Add($"mine{i}");
        }
        Task.WaitAll(writer, pusher);
        ended.Cancel();
        reader.Wait();

        string[] tags = Tool.Run("umoci", "ls", "--layout", directory).EnsureSuccess().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Empty(kept.Except(tags));
        Assert.All(kept, tag => _cli.Run("ls", $"{layout}:{tag}").EnsureSuccess());
        Assert.Contains("application/vnd.lazymount.layer-index.v1", File.ReadAllText(Path.Combine(directory, "index.json")), StringComparison.Ordinal);

        void Write(string[] arguments, string tag)
        {
            _cli.Run(arguments).EnsureSuccess();
            Add(tag);
        }

        void Add(string tag)
        {
            lock (kept)
                kept.Add(tag);
        }
    }
}
