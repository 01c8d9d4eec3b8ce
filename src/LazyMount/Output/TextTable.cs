namespace LazyMount.Output;

/// <summary>Rows of text in columns, two spaces apart, one line a row: control characters become question marks. The last column is not padded.</summary>
internal sealed class TextTable(params string[] headings)
{
    private readonly List<string[]> _rows = [headings];

    /// <summary>Columns of numbers, written to the right.</summary>
    public HashSet<int> RightAligned { get; init; } = [];

    public void Add(params string[] cells) => _rows.Add(cells);

    public void Write(CommandOutput output)
    {
        int[] widths = [.. Enumerable.Range(0, headings.Length).Select(column => _rows.Max(row => row[column].Length))];
        foreach (string[] row in _rows)
        {
            for (int column = 0; column < row.Length; column++)
            {
                string cell = CommandOutput.Displayable(row[column]); // a name with a line break would be a row
                bool isLast = column == row.Length - 1;
                output.Write(RightAligned.Contains(column) ? cell.PadLeft(widths[column]) : isLast ? cell : cell.PadRight(widths[column]));
                output.Write(isLast ? "\n" : "  ");
            }
        }
    }
}
