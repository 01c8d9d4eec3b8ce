using System.Globalization;
using System.Text;

namespace LazyMount.Serving.Pages;

/// <summary>
/// Names of an image as people can see them: a byte that is no UTF-8, and a character that is invisible or turns the direction of text, is shown as
/// its number, so that two names never look the same.
/// </summary>
internal static class NameText
{
    public static Markup Show(ReadOnlySpan<byte> name)
    {
        var text = new StringBuilder("<bdi>");
        while (!name.IsEmpty)
        {
            bool isText = Rune.DecodeFromUtf8(name, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            if (isText && IsVisible(rune))
            {
                text.Append(Html.Encode(rune.ToString()));
            }
            else
            {
                text.Append("<span class=\"byte\">").Append(isText && rune.Value > 0x7F ? $"\\u{{{rune.Value:X}}}" : rune.Value == '\n' ? "\\n" : $"\\x{name[0]:X2}").Append("</span>");
                length = isText ? length : 1;
            }
            name = name[length..];
        }
        return new Markup(text.Append("</bdi>").ToString());
    }

    /// <summary>The same as plain text, for titles and labels.</summary>
    public static string Plain(ReadOnlySpan<byte> name)
    {
        var text = new StringBuilder();
        while (!name.IsEmpty)
        {
            bool isText = Rune.DecodeFromUtf8(name, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            text.Append(isText && IsVisible(rune) ? rune.ToString() : isText && rune.Value > 0x7F ? $"\\u{{{rune.Value:X}}}" : rune.Value == '\n' ? "\\n" : $"\\x{name[0]:X2}");
            name = name[(isText ? length : 1)..];
        }
        return text.ToString();
    }

    private static bool IsVisible(Rune rune) => rune.Value == ' '
        || Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.SpaceSeparator);
}
