using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>What every failure must look like: an exit code, nothing on standard output, and one sentence for a person on standard error.</summary>
internal static class Sentence
{
    public static void AssertOne(ToolResult result, int exitCode, params string[] mentions)
    {
        Assert.True(result.ExitCode == exitCode, $"expected exit code {exitCode}, got {result.ExitCode}: {result.Error}");
        Assert.Empty(result.Output);
        string[] lines = result.Error.TrimEnd('\n').Split('\n');
        if (lines.Length == 2)
        {
            // A daemon that could not mount says besides where its log is.
            Assert.StartsWith("lazymount: the log of this mount is '", lines[1], StringComparison.Ordinal);
            lines = lines[..1];
        }
        string sentence = Assert.Single(lines);
        Assert.StartsWith("lazymount: ", sentence, StringComparison.Ordinal);
        Assert.DoesNotMatch("[.:;,][.:;,] |^lazymount: [A-Z][a-z]* |[.]$", sentence);
        Assert.DoesNotContain("Exception", sentence, StringComparison.Ordinal);
        Assert.DoesNotContain("this is a bug", sentence, StringComparison.Ordinal);
        Assert.All(mentions, mention => Assert.Contains(mention, sentence, StringComparison.OrdinalIgnoreCase));
    }
}
