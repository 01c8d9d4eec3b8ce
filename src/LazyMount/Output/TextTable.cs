using System.Globalization;
using System.Text;

namespace LazyMount.Output;

/// <summary>
/// Rows of text in columns, two spaces apart, one line a row: control characters become question marks. The last column is not padded. On a
/// terminal, columns that may be cut are cut, so that rows fit its width; the last is left out when too little of it would be left.
/// </summary>
internal sealed class TextTable(params string[] headings)
{
    private const int Gap = 2, LeastWidth = 8;

    private readonly List<string[]> _rows = [headings];

    /// <summary>Columns of numbers, written to the right.</summary>
    public HashSet<int> RightAligned { get; init; } = [];

    /// <summary>Columns whose text may be cut to fit a terminal; the widest is cut first [the last column].</summary>
    public HashSet<int> Cuttable { get; init; } = [headings.Length - 1];

    public void Add(params string[] cells) => _rows.Add([.. cells.Select(CommandOutput.Displayable)]); // a name with a line break would be a row

    public void Write(CommandOutput output)
    {
        int[] widths = [.. Enumerable.Range(0, headings.Length).Select(column => _rows.Max(row => CommandOutput.WidthOf(row[column])))];
        int shown = headings.Length;
        for (int excess = output.Width is { } width ? widths.Sum() + (Gap * (shown - 1)) - width : 0; excess > 0 && Cuttable.Count > 0; excess--)
        {
            int widest = Cuttable.MaxBy(column => widths[column]);
            if (widths[widest] > LeastWidth)
            {
                widths[widest]--;
                continue;
            }
            if (Cuttable.Contains(shown - 1))
            {
                shown--; // too little of it is left to be of use
            }
            break;
        }
        foreach (string[] row in _rows)
        {
            for (int column = 0; column < shown; column++)
            {
                string cell = Cut(row[column], widths[column]);
                bool isLast = column == shown - 1;
                string padding = new(' ', widths[column] - CommandOutput.WidthOf(cell));
                output.Write(RightAligned.Contains(column) ? padding + cell : isLast ? cell : cell + padding);
                output.Write(isLast ? "\n" : new string(' ', Gap));
            }
        }
    }

    private static string Cut(string cell, int width)
    {
        if (CommandOutput.WidthOf(cell) <= width)
        {
            return cell;
        }
        var cut = new StringBuilder();
        foreach (string element in Elements(cell))
        {
            if (CommandOutput.WidthOf(cut + element) >= width)
            {
                break;
            }
            cut.Append(element);
        }
        return cut.Append('…').ToString();
    }

    // What a reader takes for one character.
    private static IEnumerable<string> Elements(string text)
    {
        for (TextElementEnumerator elements = StringInfo.GetTextElementEnumerator(text); elements.MoveNext();)
        {
            yield return elements.GetTextElement();
        }
    }
}
