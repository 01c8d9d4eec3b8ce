using System.Globalization;
using System.Text;
using DiffPlex;
using DiffPlex.Model;
using LazyMount.Output;

namespace LazyMount.Comparing;

/// <summary>Two versions of a text as `diff -u` shows them. Texts are bytes: a line is what stands up to a line feed, in any encoding.</summary>
internal sealed class UnifiedDiff
{
    private const int Context = 3;

    private readonly DiffResult _lines;

    /// <summary>Takes long for large texts of which most lines differ.</summary>
    public UnifiedDiff(ReadOnlySpan<byte> before, ReadOnlySpan<byte> after)
        => _lines = Differ.Instance.CreateDiffs(Encoding.Latin1.GetString(before), Encoding.Latin1.GetString(after), ignoreWhiteSpace: false, ignoreCase: false, new LineChunker());

    /// <summary>Whether bytes are no text: as git has it, they have a zero byte near their beginning.</summary>
    public static bool IsBinary(ReadOnlySpan<byte> bytes) => bytes[..Math.Min(bytes.Length, 8000)].Contains((byte)0);

    /// <summary>Writes the hunks, without headers. Nothing when the texts are equal.</summary>
    public void Write(CommandOutput output)
    {
        IList<DiffBlock> blocks = _lines.DiffBlocks;
        for (int first = 0, next; first < blocks.Count; first = next)
        {
            for (next = first + 1; next < blocks.Count && blocks[next].DeleteStartA - EndOf(blocks[next - 1]) <= 2 * Context; next++)
            {
            }
            WriteHunk(output, blocks.Skip(first).Take(next - first).ToList());
        }
    }

    private static int EndOf(DiffBlock block) => block.DeleteStartA + block.DeleteCountA;

    private void WriteHunk(CommandOutput output, List<DiffBlock> blocks)
    {
        int start = Math.Max(0, blocks[0].DeleteStartA - Context), end = Math.Min(_lines.PiecesOld.Count, EndOf(blocks[^1]) + Context);
        int newStart = blocks[0].InsertStartB - (blocks[0].DeleteStartA - start);
        int newCount = end - start + blocks.Sum(block => block.InsertCountB - block.DeleteCountA);
        output.WriteLine($"@@ -{Range(start, end - start)} +{Range(newStart, newCount)} @@");
        int at = start;
        foreach (DiffBlock block in blocks)
        {
            WriteLines(output, " ", _lines.PiecesOld, at, block.DeleteStartA - at);
            WriteLines(output, "-", _lines.PiecesOld, block.DeleteStartA, block.DeleteCountA);
            WriteLines(output, "+", _lines.PiecesNew, block.InsertStartB, block.InsertCountB);
            at = EndOf(block);
        }
        WriteLines(output, " ", _lines.PiecesOld, at, end - at);
    }

    // From 1, or the line before when there is none.
    private static string Range(int start, int count)
        => count == 1 ? (start + 1).ToString(CultureInfo.InvariantCulture) : string.Create(CultureInfo.InvariantCulture, $"{(count == 0 ? start : start + 1)},{count}");

    private static void WriteLines(CommandOutput output, string sign, IReadOnlyList<string> lines, int start, int count)
    {
        for (int i = start; i < start + count; i++)
        {
            bool isEnded = lines[i].EndsWith('\n');
            output.Write(sign);
            output.WriteName(Encoding.Latin1.GetBytes(isEnded ? lines[i][..^1] : lines[i]));
            output.WriteLine(isEnded ? "" : "\n\\ No newline at end of file");
        }
    }

    /// <summary>Lines with their line feeds, so that a last one without it is another line.</summary>
    private sealed class LineChunker : IChunker
    {
        public IReadOnlyList<string> Chunk(string text)
        {
            List<string> lines = [];
            for (int start = 0, end; start < text.Length; start = end)
            {
                end = text.IndexOf('\n', start) + 1;
                end = end == 0 ? text.Length : end;
                lines.Add(text[start..end]);
            }
            return lines;
        }
    }
}
