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

    private static readonly LineChunker s_chunker = new();

    private readonly IReadOnlyList<string> _before, _after;
    private readonly List<DiffBlock> _blocks = [];

    /// <summary>Takes long for large texts that have many lines in common, but in another order.</summary>
    public UnifiedDiff(ReadOnlySpan<byte> before, ReadOnlySpan<byte> after)
    {
        (_before, _after) = (s_chunker.Chunk(Encoding.Latin1.GetString(before)), s_chunker.Chunk(Encoding.Latin1.GetString(after)));
        int at = 0, newAt = 0;
        foreach ((int same, int newSame) in SameLines().Append((_before.Count, _after.Count)))
        {
            if (same > at || newSame > newAt)
            {
                _blocks.Add(new DiffBlock(at, same - at, newAt, newSame - newAt));
            }
            (at, newAt) = (same + 1, newSame + 1);
        }
    }

    // Lines of the two that are shown as one. A line that only one of the texts has is none of them: without those, texts of which
    // most lines differ do not take the time of a comparison, which grows with the square of what differs.
    private IEnumerable<(int Before, int After)> SameLines()
    {
        int[] before = LinesThatAreIn(_after, _before), after = LinesThatAreIn(_before, _after);
        DiffResult common = Differ.Instance.CreateDiffs(
            string.Concat(before.Select(line => _before[line])), string.Concat(after.Select(line => _after[line])), ignoreWhiteSpace: false, ignoreCase: false, s_chunker);
        int at = 0, newAt = 0;
        foreach (DiffBlock block in common.DiffBlocks.Append(new DiffBlock(before.Length, 0, after.Length, 0)))
        {
            while (at < block.DeleteStartA)
            {
                yield return (before[at++], after[newAt++]);
            }
            (at, newAt) = (EndOf(block), block.InsertStartB + block.InsertCountB);
        }
    }

    private static int[] LinesThatAreIn(IEnumerable<string> others, IReadOnlyList<string> lines)
    {
        var known = others.ToHashSet(StringComparer.Ordinal);
        return [.. Enumerable.Range(0, lines.Count).Where(line => known.Contains(lines[line]))];
    }

    /// <summary>Whether bytes are no text: as git has it, they have a zero byte near their beginning.</summary>
    public static bool IsBinary(ReadOnlySpan<byte> bytes) => bytes[..Math.Min(bytes.Length, 8000)].Contains((byte)0);

    /// <summary>Writes the hunks, without headers. Nothing when the texts are equal.</summary>
    public void Write(CommandOutput output)
    {
        for (int first = 0, next; first < _blocks.Count; first = next)
        {
            for (next = first + 1; next < _blocks.Count && _blocks[next].DeleteStartA - EndOf(_blocks[next - 1]) <= 2 * Context; next++)
            {
            }
            WriteHunk(output, _blocks[first..next]);
        }
    }

    private static int EndOf(DiffBlock block) => block.DeleteStartA + block.DeleteCountA;

    private void WriteHunk(CommandOutput output, List<DiffBlock> blocks)
    {
        int start = Math.Max(0, blocks[0].DeleteStartA - Context), end = Math.Min(_before.Count, EndOf(blocks[^1]) + Context);
        int newStart = blocks[0].InsertStartB - (blocks[0].DeleteStartA - start);
        int newCount = end - start + blocks.Sum(block => block.InsertCountB - block.DeleteCountA);
        output.WriteLine($"@@ -{Range(start, end - start)} +{Range(newStart, newCount)} @@");
        int at = start;
        foreach (DiffBlock block in blocks)
        {
            WriteLines(output, " ", _before, at, block.DeleteStartA - at);
            WriteLines(output, "-", _before, block.DeleteStartA, block.DeleteCountA);
            WriteLines(output, "+", _after, block.InsertStartB, block.InsertCountB);
            at = EndOf(block);
        }
        WriteLines(output, " ", _before, at, end - at);
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
