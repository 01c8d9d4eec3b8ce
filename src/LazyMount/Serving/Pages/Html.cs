using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;

namespace LazyMount.Serving.Pages;

/// <summary>Text that is HTML already.</summary>
internal readonly record struct Markup(string Text);

/// <summary>
/// HTML that is being written. What stands in the braces of <c>Add($"…{value}…")</c> is text and cannot become markup, unless it is
/// <see cref="Markup"/>.
/// </summary>
internal sealed class Html
{
    private readonly StringBuilder _text = new();

#pragma warning disable CA1822 // The piece has written itself into this instance.
    public void Add([InterpolatedStringHandlerArgument("")] ref Piece piece) => _ = piece;
#pragma warning restore CA1822

    public override string ToString() => _text.ToString();

    /// <summary>One piece as markup.</summary>
    public static Markup Of(Action<Html> write)
    {
        var html = new Html();
        write(html);
        return new Markup(html.ToString());
    }

    /// <summary>Text for HTML, within quotes too. Lone surrogates, of bytes that are no UTF-8, become U+FFFD.</summary>
    public static string Encode(string text) => HtmlEncoder.Default.Encode(text);

    [InterpolatedStringHandler]
    public readonly ref struct Piece(int literalLength, int formattedCount, Html html)
    {
        private readonly StringBuilder _text = literalLength + formattedCount >= 0 ? html._text : throw new ArgumentOutOfRangeException(nameof(literalLength));

        public void AppendLiteral(string markup) => _text.Append(markup);

        public void AppendFormatted(string? text) => _text.Append(Encode(text ?? ""));

        public void AppendFormatted(Markup markup) => _text.Append(markup.Text);

        public void AppendFormatted(long number) => _text.Append(number.ToString(CultureInfo.InvariantCulture));
    }
}
