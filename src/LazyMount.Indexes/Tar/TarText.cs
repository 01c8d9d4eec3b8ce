using System.Text;

namespace LazyMount.Indexes.Tar;

/// <summary>Bytes of a tar shown to a human.</summary>
internal static class TarText
{
    private const int MaxShown = 200;

    /// <summary>A name in quotes: as UTF-8 where it is, control characters as '?', long ones cut.</summary>
    public static string Quote(ReadOnlySpan<byte> name)
    {
        string text = Encoding.UTF8.GetString(name.Length > MaxShown ? name[..MaxShown] : name);
        var shown = new StringBuilder(text.Length + 5).Append('"');
        foreach (char c in text)
        {
            shown.Append(char.IsControl(c) ? '?' : c);
        }
        return shown.Append(name.Length > MaxShown ? "…\"" : "\"").ToString();
    }
}
