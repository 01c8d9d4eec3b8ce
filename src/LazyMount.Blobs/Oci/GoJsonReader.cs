using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// Reads one JSON document as Go's encoding/json does, because every container engine reads its documents with that: a
/// reader with other rules could see another image in the same bytes.
/// <list type="bullet">
/// <item>A key names the field of exactly that name, else the field whose name differs only in case. Unknown keys are
/// ignored, however often they stand there.</item>
/// <item><c>null</c> leaves a field as it is when it is missing. A value of another type is an error.</item>
/// <item>An integer has no fraction and no exponent, and fits into 64 bits.</item>
/// <item>Keys of maps are compared exactly, and the last of two equal ones counts.</item>
/// <item>Bytes that are not UTF-8 and surrogates without their partner become U+FFFD.</item>
/// <item>Values nest up to 10,000 deep. What follows the document, and a byte order mark before it, are errors.</item>
/// </list>
/// One rule differs: a known key that stands twice in an object is refused, where Go lets the second one override or extend
/// the first (<see cref="GoStruct{T}"/>). Errors are <see cref="JsonException"/>; their path is empty when the text is not JSON.
/// </summary>
public ref struct GoJsonReader
{
    private const int MaxDepth = 10_000;
    private const char Replacement = '\uFFFD';

    private readonly int _length;
    private readonly List<string> _path = [];
    private Utf8JsonReader _tokens;

    private GoJsonReader(ReadOnlySpan<byte> document)
    {
        _length = document.Length;
        _tokens = new Utf8JsonReader(document, new JsonReaderOptions { MaxDepth = MaxDepth });
    }

    /// <summary>Reads a whole document.</summary>
    /// <exception cref="JsonException">It is not JSON, or not of the form that <paramref name="read"/> expects.</exception>
    public static T Read<T>(ReadOnlySpan<byte> document, GoValue<T> read)
    {
        var json = new GoJsonReader(document);
        json.Next();
        T value = read(ref json);
        json.Next(); // throws when something follows
        return value;
    }

    /// <summary>Where the value at hand begins in the document.</summary>
    public readonly int Start => (int)_tokens.TokenStartIndex;

    /// <summary>Where the value that was read last ends.</summary>
    public readonly int End => (int)_tokens.BytesConsumed;

    /// <summary>True when the value at hand is null.</summary>
    public readonly bool IsNull => _tokens.TokenType == JsonTokenType.Null;

    /// <summary>A string; empty for null.</summary>
    public readonly string ReadString()
    {
        if (IsNull)
            return "";
        Require(_tokens.TokenType == JsonTokenType.String, "a string");
        return Unquote(_tokens.ValueSpan);
    }

    /// <summary>An integer of 64 bits; 0 for null.</summary>
    public readonly long ReadInt64()
    {
        if (IsNull)
            return 0;
        long value = 0;
        Require(_tokens.TokenType == JsonTokenType.Number && _tokens.TryGetInt64(out value), "an integer");
        return value;
    }

    /// <summary>True or false; false for null.</summary>
    public readonly bool ReadBool()
    {
        Require(IsNull || _tokens.TokenType is JsonTokenType.True or JsonTokenType.False, "true or false");
        return _tokens.TokenType == JsonTokenType.True;
    }

    /// <summary>A string, or a number as it is written; empty for null. For fields that some writers quote and others do not.</summary>
    public readonly string ReadText() => _tokens.TokenType == JsonTokenType.Number ? Encoding.UTF8.GetString(_tokens.ValueSpan) : ReadString();

    /// <summary>Bytes, written in base64; null for null.</summary>
    public readonly byte[]? ReadBytes()
    {
        if (IsNull)
            return null;
        string text = ReadString();
        byte[] bytes = new byte[text.Length];
        int length = 0;
        Require(text.AsSpan().IndexOfAny(' ', '\t') < 0 && Convert.TryFromBase64String(text, bytes, out length), "base64");
        return bytes[..length];
    }

    /// <summary>An array; null for null.</summary>
    public List<T>? ReadList<T>(GoValue<T> read)
    {
        if (IsNull)
            return null;
        Require(_tokens.TokenType == JsonTokenType.StartArray, "an array");
        var list = new List<T>();
        while (NextIn(JsonTokenType.EndArray))
        {
            _path.Add($"[{list.Count}]");
            list.Add(read(ref this));
            _path.RemoveAt(_path.Count - 1);
        }
        return list;
    }

    /// <summary>An object whose keys are data; null for null.</summary>
    public Dictionary<string, T>? ReadMap<T>(GoValue<T> read)
    {
        if (IsNull)
            return null;
        var map = new Dictionary<string, T>();
        ReadObject((ref json, key) => map[key] = read(ref json));
        return map;
    }

    /// <summary>Skips any value, and returns its range in the document.</summary>
    public Range ReadRange()
    {
        int start = Start;
        try
        {
            _tokens.Skip();
        }
        catch (JsonException e)
        {
            throw NotJson(e);
        }
        return start..End;
    }

    /// <summary>An object, key by key: <paramref name="member"/> reads the value or passes over it.</summary>
    internal void ReadObject(GoField<string> member)
    {
        Require(_tokens.TokenType == JsonTokenType.StartObject, "an object");
        while (NextIn(JsonTokenType.EndObject))
        {
            string key = Unquote(_tokens.ValueSpan);
            Next();
            _path.Add(_path.Count == 0 ? key : "." + key);
            member(ref this, key);
            _path.RemoveAt(_path.Count - 1);
        }
    }

    /// <summary>Throws the error "not WANTED" for the current value unless the condition holds.</summary>
    public readonly void Require(bool condition, string wanted)
    {
        if (!condition)
            throw Wrong($"not {wanted}");
    }

    internal readonly JsonException Wrong(string reason) => new(reason, string.Concat(_path), null, null);

    private bool NextIn(JsonTokenType end)
    {
        Next();
        return _tokens.TokenType != end;
    }

    private void Next()
    {
        try
        {
            _tokens.Read();
        }
        catch (JsonException e)
        {
            throw NotJson(e);
        }
    }

    private readonly JsonException NotJson(JsonException e) => new($"not JSON at byte {_tokens.BytesConsumed} of {_length}", "", null, null, e);

    private static string Unquote(ReadOnlySpan<byte> text)
    {
        if (!text.Contains((byte)'\\') && Utf8.IsValid(text))
            return Encoding.UTF8.GetString(text);
        var unquoted = new StringBuilder(text.Length);
        while (!text.IsEmpty)
        {
            int length;
            if (text[0] != '\\')
            {
                // Each byte that is not UTF-8 becomes a character of its own, as in Go.
                if (Rune.DecodeFromUtf8(text, out Rune rune, out length) == System.Buffers.OperationStatus.Done)
                    unquoted.Append(rune.ToString());
                else
                    (_, length) = (unquoted.Append(Replacement), 1);
            }
            else if (text[1] != 'u')
            {
                unquoted.Append((char)(text[1] switch { (byte)'b' => '\b', (byte)'f' => '\f', (byte)'n' => '\n', (byte)'r' => '\r', (byte)'t' => '\t', var other => (char)other }));
                length = 2;
            }
            else
            {
                (char unit, length) = (CodeUnit(text), 6);
                if (char.IsHighSurrogate(unit) && text[length..] is [(byte)'\\', (byte)'u', ..] && CodeUnit(text[length..]) is var low && char.IsLowSurrogate(low))
                    (_, length) = (unquoted.Append(unit).Append(low), 12);
                else
                    unquoted.Append(char.IsSurrogate(unit) ? Replacement : unit);
            }
            text = text[length..];
        }
        return unquoted.ToString();

        // Of \uXXXX, whose digits the tokenizer has checked.
        static char CodeUnit(ReadOnlySpan<byte> escape) => (char)ushort.Parse(escape[2..6], System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture);
    }
}

/// <summary>Reads the value at hand.</summary>
public delegate T GoValue<out T>(ref GoJsonReader json);

/// <summary>Reads the value at hand into a field.</summary>
public delegate void GoField<in T>(ref GoJsonReader json, T into);
