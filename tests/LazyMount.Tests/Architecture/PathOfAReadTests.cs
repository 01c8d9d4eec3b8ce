using System.Text.RegularExpressions;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Architecture;

/// <summary>
/// docs/path-of-a-read.md and the marks in the code say the same: every row of the document's table is a method that has the
/// mark of its step, and every mark in the code has a row.
/// </summary>
public sealed partial class PathOfAReadTests
{
    private readonly record struct Place(int Step, string File, string Method);

    [Fact]
    public void EveryRow_HasItsMark_AndEveryMark_HasItsRow()
    {
        Place[] rows = [.. Rows()], marks = [.. Marks()];
        Assert.NotEmpty(rows);
        Assert.Empty(rows.Except(marks));
        Assert.Empty(marks.Except(rows));
    }

    [Fact]
    public void EveryStep_IsTold_AndHasAMark()
    {
        int[] steps = [.. Headings().Select(heading => int.Parse(heading.Groups[1].ValueSpan))];
        Assert.Equal(Enumerable.Range(1, steps.Length), steps);
        Assert.Equal(steps, Rows().Select(row => row.Step).Distinct().Order());
    }

    private static string Document() => File.ReadAllText(Path.Combine(RepositoryRoot.Path, "docs", "path-of-a-read.md"));

    private static MatchCollection Headings() => Heading().Matches(Document());

    // | 3 | `LazyMount.Indexes/Store/IndexFinder.cs` | `GetAsync` |
    private static IEnumerable<Place> Rows()
        => Row().Matches(Document()).Select(row => new Place(int.Parse(row.Groups[1].ValueSpan), row.Groups[2].Value, row.Groups[3].Value));

    private static IEnumerable<Place> Marks()
    {
        string source = Path.Combine(RepositoryRoot.Path, "src");
        foreach (string file in Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories))
        {
            string path = Path.GetRelativePath(source, file);
            if (path.Contains("/obj/", StringComparison.Ordinal) || path.Contains("/bin/", StringComparison.Ordinal))
                continue;
            string[] lines = File.ReadAllLines(file);
            for (int i = 0; i < lines.Length; i++)
            {
                if (Mark().Match(lines[i]) is { Success: true } mark)
                    yield return new Place(int.Parse(mark.Groups[1].ValueSpan), path, MethodAround(lines, i));
            }
        }
    }

    // The mark stands in the method's body: the nearest member above it, of the type or of a nested one.
    private static string MethodAround(string[] lines, int mark)
    {
        for (int i = mark; i >= 0; i--)
        {
            if (Method().Match(lines[i]) is { Success: true } method)
                return method.Groups[1].Value;
        }
        return "";
    }

    [GeneratedRegex(@"^(\d+)\. \*\*", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^\| (\d+) \| `([^`]+)` \| `([^`]+)` \|", RegexOptions.Multiline)]
    private static partial Regex Row();

    [GeneratedRegex(@"// :: Step (\d+)")]
    private static partial Regex Mark();

    [GeneratedRegex(@"^(?:    |        )(?:public|internal|private|protected)\b[^=;]*?\b(\w+)(?:<[^>(]*>)?\(")]
    private static partial Regex Method();
}
