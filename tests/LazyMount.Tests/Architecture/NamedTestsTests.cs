using System.Text.RegularExpressions;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Architecture;

/// <summary>The tests that the documents name as proof are there.</summary>
public sealed partial class NamedTestsTests
{
    [Theory]
    [InlineData("semantics.md")]
    [InlineData("trust.md")]
    [InlineData("limits.md")]
    public void TestsThatADocumentNames_Exist(string name)
    {
        string document = File.ReadAllText(Path.Combine(RepositoryRoot.Path, "docs", name));
        Dictionary<string, string> classes = Directory.EnumerateFiles(Path.Combine(RepositoryRoot.Path, "tests"), "*Tests.cs", SearchOption.AllDirectories)
            .ToLookup(path => Path.GetFileNameWithoutExtension(path), File.ReadAllText)
            .ToDictionary(files => files.Key, files => string.Concat(files));
        List<Match> named = TestName().Matches(document).ToList();
        Assert.NotEmpty(named);
        Assert.All(named, test =>
        {
            Assert.True(classes.TryGetValue(test.Groups[1].Value, out string? text), $"there is no class {test.Groups[1].Value}");
            Assert.Contains($" {test.Groups[2].Value}", text, StringComparison.Ordinal);
        });
        // A row that names several tests of one class names the class once.
        Assert.All(MethodAlone().Matches(document), method => Assert.Contains(classes.Values, text => text.Contains($" {method.Groups[1].Value}(", StringComparison.Ordinal)));
    }

    [GeneratedRegex(@"(?<![./])\b(?!MountTests\b)(\w+Tests)\b(?:\.(\w+))?")]
    private static partial Regex TestName();

    [GeneratedRegex(@"`([A-Z]\w+_\w+)`")]
    private static partial Regex MethodAlone();
}
