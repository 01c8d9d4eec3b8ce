using System.Text;
using System.Text.Json;
using CsCheck;
using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs.Oci;

/// <summary>Random documents against a model of Go's rules: keys in any case, twice, unknown, nulls, escapes, values of other forms.</summary>
public sealed class GoJsonPropertyTests
{
    /// <summary>A value as JSON, and what the field holds then; null where the value has another form.</summary>
    private sealed record Value(string Json, string? Shown);

    private sealed record Member(string Key, Value Value, int? Field);

    // Strings piece by piece, so that no two pieces make a third thing of a surrogate.
    private static readonly Gen<(string Json, string Text)> s_text = Gen.OneOf<(string Json, string Text)>(
            ("a", "a"), ("é", "é"), ("\U0001F600", "\U0001F600"), ("\\u0062", "b"), ("\\n", "\n"), ("\\/", "/"), ("\\\"", "\""), ("\\\\", "\\"),
            ("\\uD83D\\uDe00", "\U0001F600"), ("\\ud800c", "\uFFFDc"), ("\\udc00", "\uFFFD"), ("]}", "]}"), (",\\\":", ",\":"))
        .Array[0, 4].Select(pieces => (string.Concat(pieces.Select(piece => piece.Json)), string.Concat(pieces.Select(piece => piece.Text))));

    private static readonly Gen<string> s_string = s_text.Select(text => $"\"{text.Json}\"");

    private static readonly Gen<string> s_any = Gen.Recursive<string>((depth, any) => depth > 3 ? s_string : Gen.OneOf(
        s_string,
        Gen.OneOf("null", "true", "-0.5e+7", "12345678901234567890", "{}", "[]", " [ 1 ,2]"),
        any.Array[0, 3].Select(values => $"[{string.Join(',', values)}]"),
        Gen.Select(Gen.OneOf(s_string, Gen.OneOf("\"text\"", "\"Size\"", "\"x\"")), any).Array[0, 4].Select(members => $"{{{string.Join(',', members.Select(member => $"{member.Item1}:{member.Item2}"))}}}")));

    private static Gen<Value> OrOther(Gen<Value> right, string zero, params string[] others)
        => Gen.Frequency((8, right), (1, Gen.Const(new Value("null", zero))), (1, Gen.OneOf(others).Select(other => new Value(other, null))));

    private static readonly (string Name, Gen<Value> Value)[] s_fields =
    [
        ("text", OrOther(s_text.Select(text => new Value($"\"{text.Json}\"", text.Text.Length == 0 ? "" : $"text={text.Text}")), "", "7", "[]", "{}", "false")),
        ("size", OrOther(Gen.Long.Select(size => new Value($"{size}", size == 0 ? "" : $"size={size}")), "", "1.0", "1e2", "\"1\"", "9223372036854775808", "[1]")),
        ("list", OrOther(s_text.Array[0, 3].Select(texts => new Value($"[{string.Join(" , ", texts.Select(text => $"\"{text.Json}\""))}]", $"list=[{string.Join(',', texts.Select(text => text.Text))}]")), "", "\"a\"", "{}", "[1]", "[[]]")),
        ("map", OrOther(Gen.Select(s_text, s_text).Array[0, 4].Select(MapOf), "", "[]", "\"a\"", "{\"a\":1}", "{\"a\":{}}")),
        ("value", OrOther(Gen.Select(CaseOf("name"), s_text, s_any).Select((key, text, any) => new Value($"{{\"x\":{any},\"{key}\":\"{text.Json}\",\"x\":1}}", text.Text.Length == 0 ? "" : $"value={{{text.Text}}}")), "", "[]", "3", "{\"name\":1}", "{\"name\":\"a\",\"NAME\":\"a\"}")),
        ("pointer", OrOther(Gen.Const(new Value("{}", "pointer={}")), "", "[]", "\"\"")),
    ];

    private static Value MapOf(((string Json, string Text) Key, (string Json, string Text) Value)[] pairs)
    {
        var map = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (((_, string key), (_, string value)) in pairs)
            map[key] = value;
        return new Value(
            $"{{{string.Join(',', pairs.Select(pair => $"\"{pair.Key.Json}\":\"{pair.Value.Json}\""))}}}",
            $"map=[{string.Join(',', map.Select(pair => $"{pair.Key}:{pair.Value}"))}]");
    }

    // The name in another case, some letters as escapes, an s or a k as the letter that Go folds into it.
    private static Gen<string> CaseOf(string name) => Gen.Int[0, 9].Array[name.Length].Select(ways => string.Concat(name.Zip(ways, (letter, way) => way switch
    {
        < 5 => $"{letter}",
        < 8 => $"{char.ToUpperInvariant(letter)}",
        8 => $"\\u{(int)letter:x4}",
        _ => letter == 's' ? "\u017F" : letter == 'k' ? "\\u212a" : $"{letter}",
    })));

    private static readonly Gen<Member> s_member = Gen.Frequency(
        (3, Gen.Int[0, s_fields.Length - 1].SelectMany(field => Gen.Select(CaseOf(s_fields[field].Name), s_fields[field].Value, (key, value) => new Member(key, value, field)))),
        (2, Gen.Select(Gen.OneOf(Gen.OneOf("x", "X", "texts", "siz", "", "l\u0131st"), s_text.Select(text => "." + text.Json)), s_any, (key, json) => new Member(key, new Value(json, ""), null))));

    [Fact]
    public void RandomDocuments_AreReadByTheModelsRules()
    {
        int read = 0, refused = 0;
        s_member.Array[0, 6].Sample(members =>
        {
            byte[] document = Encoding.UTF8.GetBytes($" {{{string.Join(" ,", members.Select(member => $"\"{member.Key}\": {member.Value.Json}"))}}} ");
            int[] known = [.. members.Select(member => member.Field).OfType<int>()];
            if (known.Distinct().Count() < known.Length || members.Any(member => member.Value.Shown is null))
            {
                Assert.Throws<JsonException>(() => GoJsonTests.Read(document));
                Interlocked.Increment(ref refused);
                return;
            }
            string expected = string.Join(' ', members.Where(member => member.Field is not null).OrderBy(member => member.Field).Select(member => member.Value.Shown).Where(shown => shown!.Length > 0));
            Assert.Equal(expected, GoJsonTests.Read(document).ToString());
            Interlocked.Increment(ref read);
        }, iter: 5_000);
        Assert.True(read > 500 && refused > 500, $"{read} were read and {refused} refused");
    }

    [Fact]
    public void IndexThatIsChanged_KeepsTheBytesOfAllElse()
    {
        Gen<string> entry = Gen.Select(Gen.OneOf("v1", "v2", "v3"), s_any).Select((tag, any) => $$"""{ "x":{{any}},"Annotations":{"A":"1","a":"2","tag":"{{tag}}"}, "digest" :"{{tag}}","x":{{any}} }""");
        Gen<string> others = s_any.Array[0, 3].Select(values => string.Concat(values.Select(value => $"\"x\":{value} , ")));
        Gen.Select(others, CaseOf("manifests"), entry.Array[0, 4], others).Sample((before, key, entries, after) =>
        {
            string head = $$""" {{{before}}"{{key}}": """, tail = $$""" , {{after}}"end":"ſ"}""";
            var index = new IndexText(Encoding.UTF8.GetBytes($"{head}[{string.Join(" , ", entries)}]{tail}"));
            Assert.Equal(entries.Length, index.Entries.Count());
            string changed = Encoding.UTF8.GetString(index.With(each => each.Annotations["tag"] != "v2", "{\"new\":1}"));
            Assert.Equal($"{head}[{string.Join(',', entries.Where(each => !each.Contains("\"tag\":\"v2\"", StringComparison.Ordinal)).Append("{\"new\":1}"))}]{tail}", changed);
        }, iter: 500);
    }

    [Theory]
    [InlineData("{}", """{"manifests":[1]}""")]
    [InlineData(" { } ", """ {"manifests":[1] } """)]
    [InlineData("""{"a":"ſ"}""", """{"manifests":[1],"a":"ſ"}""")]
    [InlineData("""{"a":1,"Manifests":null}""", """{"a":1,"Manifests":[1]}""")]
    [InlineData("""{"manifests" : [ ] }""", """{"manifests" : [1] }""")]
    public void IndexWithoutEntries_GetsOne(string index, string expected)
        => Assert.Equal(expected, Encoding.UTF8.GetString(new IndexText(Encoding.UTF8.GetBytes(index)).With(_ => true, "1")));
}
