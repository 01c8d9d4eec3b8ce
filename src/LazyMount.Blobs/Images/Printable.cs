namespace LazyMount.Blobs.Images;

/// <summary>Text from outside made fit for an error sentence: one line, bounded, no control characters that a terminal would obey.</summary>
public static class Printable
{
    private const int MaxLength = 200;

    /// <summary>The text, cut where it is too long, with question marks for what does not print.</summary>
    public static string Of(string text)
    {
        bool cut = text.Length > MaxLength;
        string shown = string.Create(cut ? MaxLength : text.Length, text, static (span, text) =>
        {
            for (int i = 0; i < span.Length; i++)
                span[i] = char.IsControl(text[i]) || char.IsSurrogate(text[i]) || char.GetUnicodeCategory(text[i]) == System.Globalization.UnicodeCategory.Format ? '?' : text[i];
        });
        return cut ? shown + "…" : shown;
    }
}
