using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Archives;

/// <summary>One archive file and the commands that read it, each with the same cache.</summary>
public abstract class ArchiveCase : IDisposable
{
    protected TemporaryDirectory Directory { get; } = new();

    protected string Cache => Directory["cache"];

    protected string File => Directory["image.tar"];

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) => Directory.Dispose();

    /// <summary>A layer of one file.</summary>
    protected static byte[] LayerOf(string path, string content = "") => new TarBytes().File(path, content).ToArray();

    private protected Task<CommandRun> RunAsync(string verb, params string[] arguments) => CommandRun.RunAsync([verb, "--cache-dir", Cache, .. arguments]);

    /// <summary>The names at the root of an image's tree.</summary>
    private protected async Task<string> ListAsync(string reference)
    {
        CommandRun run = await RunAsync("ls", reference);
        Assert.Equal("", run.Error);
        Assert.Equal(0, run.ExitCode);
        return run.Output.TrimEnd('\n').Replace('\n', ' ');
    }

    private protected async Task<string> CatAsync(string reference, string path)
    {
        CommandRun run = await RunAsync("cat", reference, path);
        Assert.Equal("", run.Error);
        return run.Output;
    }

    /// <summary>The one sentence that a refusal is.</summary>
    private protected async Task<string> RefusalAsync(string reference, int exitCode = 1, params string[] options)
    {
        CommandRun run = await RunAsync("ls", [reference, .. options]);
        Assert.Equal("", run.Output);
        Assert.StartsWith("lazymount: ", run.Error, StringComparison.Ordinal);
        Assert.Equal(exitCode, run.ExitCode);
        Assert.DoesNotContain("bug", run.Error, StringComparison.Ordinal);
        return Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
    }
}
