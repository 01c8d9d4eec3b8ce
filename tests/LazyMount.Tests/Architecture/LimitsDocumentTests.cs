using System.Text.RegularExpressions;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Architecture;

/// <summary>docs/limits.md names the test of every bound: each must be there.</summary>
public sealed partial class LimitsDocumentTests
{
    [GeneratedRegex("`([A-Za-z]+\\.)*([A-Za-z]+Tests)(\\.([A-Za-z0-9_]+))?`|`([A-Za-z0-9]+_[A-Za-z0-9_]+)`")]
    private static partial Regex Named();

    [Fact]
    public void EveryTestThatIsNamed_Exists()
    {
        string[] sources = [.. Directory.EnumerateFiles(Path.Combine(RepositoryRoot.Path, "tests"), "*Tests.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal))];
        Dictionary<string, string> byClass = sources.GroupBy(Path.GetFileNameWithoutExtension).ToDictionary(group => group.Key!, group => string.Concat(group.Select(File.ReadAllText)));
        MatchCollection named = Named().Matches(File.ReadAllText(Path.Combine(RepositoryRoot.Path, "docs", "limits.md")));
        Assert.True(named.Count > 40);
        foreach (Match each in named)
        {
            string type = each.Groups[2].Value, method = each.Groups[4].Value, alone = each.Groups[5].Value;
            if (type.Length > 0)
            {
                Assert.True(byClass.TryGetValue(type, out string? text) && text.Contains($" {method}{(method.Length > 0 ? "(" : "")}", StringComparison.Ordinal), $"{each.Value} is not there");
            }
            else
            {
                Assert.True(byClass.Values.Any(text => text.Contains($" {alone}(", StringComparison.Ordinal)), $"{each.Value} is not there");
            }
        }
    }
}
