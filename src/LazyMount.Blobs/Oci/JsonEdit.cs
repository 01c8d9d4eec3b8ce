using System.Text;

namespace LazyMount.Blobs.Oci;

/// <summary>Changes values of a JSON document that others wrote. Every byte that is not replaced stays as it is.</summary>
internal sealed class JsonEdit(ReadOnlyMemory<byte> document)
{
    private readonly List<(Range Place, byte[] Text)> _replacements = [];

    /// <summary>Puts JSON in the place of a value. Places do not overlap.</summary>
    public void Replace(Range value, string text) => Replace(value, Encoding.UTF8.GetBytes(text));

    private void Replace(Range value, byte[] text) => _replacements.Add((value, text));

    /// <summary>Gives a member of an object another value, or adds the member.</summary>
    /// <param name="start">Where the object begins.</param>
    /// <param name="key">The member's key, which needs no escapes.</param>
    /// <param name="value">Where the member's value stands; null when the object has no such member.</param>
    /// <param name="text">The new value.</param>
    public void Set(int start, string key, Range? value, string text) => Set(start, key, value, Encoding.UTF8.GetBytes(text));

    /// <summary>As the other overload, but the new value may have bytes that are not UTF-8, copied from another document.</summary>
    public void Set(int start, string key, Range? value, byte[] text)
    {
        if (value is { } place)
        {
            Replace(place, text);
            return;
        }
        bool isEmpty = document.Span[(start + 1)..].TrimStart(" \t\r\n"u8)[0] == '}';
        Replace((start + 1)..(start + 1), [.. Encoding.UTF8.GetBytes($"\"{key}\":"), .. text, .. isEmpty ? ""u8 : ","u8]);
    }

    /// <summary>The changed document.</summary>
    public byte[] Apply()
    {
        using var changed = new MemoryStream();
        int at = 0;
        foreach ((Range place, byte[] text) in _replacements.OrderBy(each => each.Place.Start.Value))
        {
            changed.Write(document.Span[at..place.Start.Value]);
            changed.Write(text);
            at = place.End.Value;
        }
        changed.Write(document.Span[at..]);
        return changed.ToArray();
    }
}
