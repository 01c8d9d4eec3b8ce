using System.Text;
using LazyMount.Output;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class TextTableTests
{
    [Fact]
    public void InAPipe_NothingIsCut()
    {
        string text = new('x', 300);
        Assert.Equal(["A  B", $"1  {text}"], Write(isTerminal: false, 40, ["A", "B"], ["1", text]));
    }

    [Theory]
    [InlineData(80)]
    [InlineData(40)]
    [InlineData(25)]
    public void OnATerminal_RowsFitItsWidth_AndWhatIsCutSaysSo(int width)
    {
        string[] lines = Write(isTerminal: true, width, ["LAYER", "CREATED BY"], ["0", new string('y', 200)], ["1", "short"]);
        Assert.All(lines, line => Assert.InRange(line.Length, 0, width));
        Assert.EndsWith("…", lines[1]);
        Assert.EndsWith("  short", lines[2]);
    }

    [Fact]
    public void OnATerminalThatIsTooNarrow_TheLastColumnIsLeftOut()
        => Assert.Equal(["A", "12345678"], Write(isTerminal: true, 10, ["A", "B"], ["12345678", "yyyyyyyyyyyy"]));

    [Fact]
    public void Columns_CountWhatATerminalShows()
    {
        Assert.Equal(["A          B", "日本       1", "e\u0301te\u0301        2", "\U0001F600plain    3"], Write(isTerminal: true, 40, ["A", "B"], ["日本".PadRight(7), "1"], ["e\u0301te\u0301".PadRight(9), "2"], ["\U0001F600plain  ", "3"]));
        Assert.Equal(["A  B", "1  日本日…"], Write(isTerminal: true, 11, ["A", "B"], ["1", "日本日本日本"]));
        Assert.Equal(["A  B", "1  e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301…"], Write(isTerminal: true, 11, ["A", "B"], ["1", string.Concat(Enumerable.Repeat("e\u0301", 20))]));
    }

    private static string[] Write(bool isTerminal, int width, string[] headings, params string[][] rows)
    {
        using var bytes = new MemoryStream();
        using (var output = new CommandOutput(bytes, isTerminal, width))
        {
            var table = new TextTable(headings);
            foreach (string[] row in rows)
            {
                table.Add(row);
            }
            table.Write(output);
            output.Flush();
            return Encoding.UTF8.GetString(bytes.ToArray()).TrimEnd('\n').Split('\n');
        }
    }
}
