using System.Globalization;
using System.Text;

namespace LazyMount.Output;

/// <summary>
/// Standard error as text. Names in messages may hold bytes that are not UTF-8, as lone surrogates: they leave as these bytes
/// (see <see cref="CommandOutput.Encode"/>). Every write goes out at once. Not thread-safe.
/// </summary>
/// <param name="stream">Where the bytes go. Not owned.</param>
/// <param name="isTerminal">A person reads along: no byte that is not UTF-8 leaves.</param>
internal sealed class MessageWriter(Stream stream, bool isTerminal) : TextWriter(CultureInfo.InvariantCulture)
{
    // The first half of a surrogate pair whose second half comes with the next write.
    private string _half = "";

    public override Encoding Encoding => Encoding.UTF8;

    public override void Write(string? value)
    {
        string text = _half + value;
        _half = text.Length > 0 && char.IsHighSurrogate(text[^1]) ? text[^1..] : "";
        stream.Write(CommandOutput.Encode(text[..^_half.Length], isTerminal));
    }

    public override void Write(char value) => Write(value.ToString());

    public override void Write(char[] buffer, int index, int count) => Write(new string(buffer, index, count));

    public override void Write(ReadOnlySpan<char> buffer) => Write(buffer.ToString());

    public override void WriteLine(string? value) => Write(value + CoreNewLineText);

    private string CoreNewLineText => new(CoreNewLine);
}
