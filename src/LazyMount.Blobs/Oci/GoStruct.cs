namespace LazyMount.Blobs.Oci;

/// <summary>
/// The known keys of a JSON object and what becomes of their values, as the struct is in Go that the object is read into. A
/// known key that stands twice, in the same case or another, is refused: two readers could see two images in one document.
/// </summary>
/// <typeparam name="T">What the values go into; a new one is the zero value.</typeparam>
public sealed class GoStruct<T>
    where T : class, new()
{
    private readonly Dictionary<string, int> _exact = [], _folded = [];
    private readonly GoField<T>[] _fields;

    /// <param name="fields">At most 64, each with an ASCII name; no two differ only in case.</param>
    public GoStruct(params (string Key, GoField<T> Field)[] fields)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(fields.Length, 64);
        _fields = [.. fields.Select(each => each.Field)];
        for (int i = 0; i < fields.Length; i++)
        {
            _exact.Add(fields[i].Key, i);
            _folded.Add(Fold(fields[i].Key), i);
        }
    }

    /// <summary>An object; the zero value for null.</summary>
    public T Read(ref GoJsonReader json) => ReadPointer(ref json) ?? new T();

    /// <summary>An object; null for null.</summary>
    public T? ReadPointer(ref GoJsonReader json)
    {
        if (json.IsNull)
            return null;
        var into = new T();
        ulong seen = 0;
        json.ReadObject((ref json, key) =>
        {
            if (!_exact.TryGetValue(key, out int field) && !_folded.TryGetValue(Fold(key), out field))
            {
                json.ReadRange();
                return;
            }
            if ((seen & (1UL << field)) != 0)
                throw json.Wrong("the key is there twice");
            seen |= 1UL << field;
            _fields[field](ref json, into);
        });
        return into;
    }

    // As Go compares keys (unicode.SimpleFold): besides the ASCII letters, the long s and the Kelvin sign are an s and a k.
    private static string Fold(string key) => string.Create(key.Length, key, static (folded, key) =>
    {
        for (int i = 0; i < key.Length; i++)
            folded[i] = key[i] switch { '\u017F' => 'S', '\u212A' => 'K', var c => char.IsAsciiLetterLower(c) ? (char)(c - 'a' + 'A') : c };
    });
}
