using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Oci;
using Xunit;

namespace LazyMount.Tests.Blobs.Oci;

/// <summary>
/// What Go's encoding/json makes of a document, as a table: the documentation of json.Unmarshal, and where that is silent the
/// code of Go 1.24 (decode.go, scanner.go, fold.go). Refused are besides known keys that stand twice.
/// </summary>
public sealed class GoJsonTests
{
    internal sealed class Inner
    {
        public static readonly GoStruct<Inner> Form = new(("name", (ref json, to) => to.Name = json.ReadString()));

        public string Name { get; private set; } = "";
    }

    internal sealed class Outer
    {
        public static readonly GoStruct<Outer> Form = new(
            ("text", (ref json, to) => to.Text = json.ReadString()),
            ("size", (ref json, to) => to.Size = json.ReadInt64()),
            ("blob", (ref json, to) => to.Blob = json.ReadBytes()),
            ("list", (ref json, to) => to.List = json.ReadList((ref json) => json.ReadString())),
            ("inners", (ref json, to) => to.Inners = json.ReadList(Inner.Form.Read)),
            ("map", (ref json, to) => to.Map = json.ReadMap((ref json) => json.ReadString())),
            ("value", (ref json, to) => to.Value = Inner.Form.Read(ref json)),
            ("pointer", (ref json, to) => to.Pointer = Inner.Form.ReadPointer(ref json)));

        public string Text { get; private set; } = "";

        public long Size { get; private set; }

        public byte[]? Blob { get; private set; }

        public List<string>? List { get; private set; }

        public List<Inner>? Inners { get; private set; }

        public Dictionary<string, string>? Map { get; private set; }

        public Inner Value { get; private set; } = new();

        public Inner? Pointer { get; private set; }

        /// <summary>What is not zero, as Go's %v would show it.</summary>
        public override string ToString()
        {
            var text = new StringBuilder();
            _ = Text.Length > 0 ? text.Append($"text={Text} ") : text;
            _ = Size != 0 ? text.Append($"size={Size} ") : text;
            _ = Blob is not null ? text.Append($"blob={Convert.ToHexStringLower(Blob)} ") : text;
            _ = List is not null ? text.Append($"list=[{string.Join(',', List)}] ") : text;
            _ = Inners is not null ? text.Append($"inners=[{string.Join(',', Inners.Select(inner => $"{{{inner.Name}}}"))}] ") : text;
            _ = Map is not null ? text.Append($"map=[{string.Join(',', Map.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}:{pair.Value}"))}] ") : text;
            _ = Value.Name.Length > 0 ? text.Append($"value={{{Value.Name}}} ") : text;
            _ = Pointer is not null ? text.Append($"pointer={{{Pointer.Name}}} ") : text;
            return text.ToString().TrimEnd(' ');
        }
    }

    internal static Outer Read(byte[] document) => GoJsonReader.Read(document, Outer.Form.Read);

    [Theory]
    // Keys.
    [InlineData("""{"text":"a"}""", "text=a")]
    [InlineData("""{"TEXT":"a"}""", "text=a")]
    [InlineData("""{"tExT":"a"}""", "text=a")]
    [InlineData("""{"t\u0065xt":"a"}""", "text=a")]
    [InlineData("{\"\u017fize\":5}", "size=5")]         // the long s
    [InlineData("""{"\u017fIZE":5}""", "size=5")]
    [InlineData("{\"t\u00e9xt\":\"a\"}", "")]            // an accent is another letter
    [InlineData("{\"l\u0131st\":[]}", "")]               // and so is a dotless i
    [InlineData("""{"tex":"a","textt":"b"," text":"c"}""", "")]
    [InlineData("""{"":"a","text":"b"}""", "text=b")]
    // Unknown keys, whatever stands there and however often.
    [InlineData("""{"x":1,"x":2,"X":{"text":[{"text":"b"}]},"text":"a"}""", "text=a")]
    [InlineData("""{"x":{"text":"b","text":"c"},"text":"a"}""", "text=a")]
    [InlineData("""{"x":"\ud800","text":"a"}""", "text=a")]
    [InlineData("""{"x":1e999999,"text":"a"}""", "text=a")]
    // null.
    [InlineData("null", "")]
    [InlineData("{}", "")]
    [InlineData("""{"text":null,"size":null,"blob":null,"list":null,"inners":null,"map":null,"value":null,"pointer":null}""", "")]
    [InlineData("""{"list":["a",null,""]}""", "list=[a,,]")]
    [InlineData("""{"inners":[null,{"name":"a"},{}]}""", "inners=[{},{a},{}]")]
    [InlineData("""{"map":{"a":null}}""", "map=[a:]")]
    [InlineData("""{"pointer":{}}""", "pointer={}")]
    [InlineData("""{"value":{"Name":"a"},"pointer":{"NAME":"b"}}""", "value={a} pointer={b}")]
    // Maps: keys are data.
    [InlineData("""{"map":{"a":"1","A":"2"}}""", "map=[A:2,a:1]")]
    [InlineData("""{"map":{"a":"1","b":"2","a":"3"}}""", "map=[a:3,b:2]")]
    [InlineData("""{"map":{"a":"1","\u0061":"2"}}""", "map=[a:2]")]
    [InlineData("""{"map":{"":"1"}}""", "map=[:1]")]
    [InlineData("""{"map":{}}""", "map=[]")]
    // Numbers.
    [InlineData("""{"size":-0}""", "")]
    [InlineData("""{"size":9223372036854775807}""", "size=9223372036854775807")]
    [InlineData("""{"size":-9223372036854775808}""", "size=-9223372036854775808")]
    // Strings.
    [InlineData("""{"text":"\"\\\/\b\f\n\r\t\u0041"}""", "text=\"\\/\b\f\n\r\tA")]
    [InlineData("""{"text":"\uD83D\uDE00"}""", "text=\U0001F600")]
    [InlineData("""{"text":"\ud800"}""", "text=\uFFFD")]
    [InlineData("""{"text":"\udc00x"}""", "text=\uFFFDx")]
    [InlineData("""{"text":"\ud800\u0041"}""", "text=\uFFFDA")]
    [InlineData("""{"text":"\ud800\ud83d\ude00"}""", "text=\uFFFD\U0001F600")]
    [InlineData("""{"text":"\ud800\n"}""", "text=\uFFFD\n")]
    [InlineData("{\"text\":\"\u007f\"}", "text=\u007f")]
    [InlineData("""{"map":{"\ud800":"a","\udfff":"b"}}""", "map=[\uFFFD:b]")]
    // Base64.
    [InlineData("""{"blob":""}""", "blob=")]
    [InlineData("""{"blob":"e30="}""", "blob=7b7d")]
    [InlineData("""{"blob":"e3\n0=\r\n"}""", "blob=7b7d")]
    // White space, nothing else, around.
    [InlineData(" \t\r\n{ \"text\" :\n\"a\" } \n", "text=a")]
    public void Document_IsRead(string document, string expected) => Assert.Equal(expected, Read(Encoding.UTF8.GetBytes(document)).ToString());

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("{")]
    [InlineData("\uFEFF{}")]
    [InlineData("{} {}")]
    [InlineData("{}x")]
    [InlineData("{},")]
    [InlineData("{\"text\":\"a\",}")]
    [InlineData("{'text':'a'}")]
    [InlineData("{text:\"a\"}")]
    [InlineData("{\"text\":\"a\"/**/}")]
    [InlineData("{\"text\":\"a\n\"}")]
    [InlineData("{\"text\":\"\\x\"}")]
    [InlineData("{\"text\":\"\\u12g4\"}")]
    [InlineData("{\"x\":01}")]
    [InlineData("{\"x\":+1}")]
    [InlineData("{\"x\":.5}")]
    [InlineData("{\"x\":NaN}")]
    [InlineData("{\"x\":nul}")]
    [InlineData("{\"x\":True}")]
    [InlineData("{\"x\":[1 2]}")]
    [InlineData("{\"x\":[")]
    [InlineData("{\u00a0}")]
    public void TextThatIsNotJson_IsRefusedWithoutAPath(string document)
    {
        var e = Assert.Throws<JsonException>(() => Read(Encoding.UTF8.GetBytes(document)));
        Assert.StartsWith("not JSON at byte ", e.Message, StringComparison.Ordinal);
        Assert.Equal("", e.Path);
    }

    [Theory]
    [InlineData("[]", "", "not an object")]
    [InlineData("\"a\"", "", "not an object")]
    [InlineData("7", "", "not an object")]
    [InlineData("""{"text":7}""", "text", "not a string")]
    [InlineData("""{"text":true}""", "text", "not a string")]
    [InlineData("""{"text":["a"]}""", "text", "not a string")]
    [InlineData("""{"Text":{"a":1}}""", "Text", "not a string")]
    [InlineData("""{"size":"5"}""", "size", "not an integer")]
    [InlineData("""{"size":1.0}""", "size", "not an integer")]
    [InlineData("""{"size":1e3}""", "size", "not an integer")]
    [InlineData("""{"size":1E0}""", "size", "not an integer")]
    [InlineData("""{"size":9223372036854775808}""", "size", "not an integer")]
    [InlineData("""{"size":false}""", "size", "not an integer")]
    [InlineData("""{"blob":"e30"}""", "blob", "not base64")]
    [InlineData("""{"blob":"e3 0="}""", "blob", "not base64")]
    [InlineData("""{"blob":"_-=="}""", "blob", "not base64")]
    [InlineData("""{"blob":7}""", "blob", "not a string")]
    [InlineData("""{"list":{}}""", "list", "not an array")]
    [InlineData("""{"list":"a"}""", "list", "not an array")]
    [InlineData("""{"list":["a",7]}""", "list[1]", "not a string")]
    [InlineData("""{"inners":[{},{"name":"a","Name":[]}]}""", "inners[1].Name", "the key is there twice")]
    [InlineData("""{"inners":[[]]}""", "inners[0]", "not an object")]
    [InlineData("""{"map":[]}""", "map", "not an object")]
    [InlineData("""{"map":{"a":1}}""", "map.a", "not a string")]
    [InlineData("""{"pointer":"a"}""", "pointer", "not an object")]
    // The rule that is not Go's.
    [InlineData("""{"text":"a","text":"a"}""", "text", "the key is there twice")]
    [InlineData("""{"text":"a","TEXT":"b"}""", "TEXT", "the key is there twice")]
    [InlineData("""{"text":null,"t\u0065xt":null}""", "text", "the key is there twice")]
    [InlineData("""{"ſize":1,"size":1}""", "size", "the key is there twice")]
    [InlineData("""{"map":{},"map":{}}""", "map", "the key is there twice")]
    public void ValueOfAnotherForm_IsRefusedByItsPath(string document, string path, string reason)
    {
        var e = Assert.Throws<JsonException>(() => Read(Encoding.UTF8.GetBytes(document)));
        Assert.Equal((path, reason), (e.Path, e.Message));
    }

    [Theory]
    [InlineData(new byte[] { 0xFF }, "\uFFFD")]
    [InlineData(new byte[] { 0xC3, 0x28 }, "\uFFFD(")]
    [InlineData(new byte[] { 0xE2, 0x82 }, "\uFFFD\uFFFD")]       // one for each byte, as utf8.DecodeRune has it
    [InlineData(new byte[] { 0xED, 0xA0, 0x80 }, "\uFFFD\uFFFD\uFFFD")] // a surrogate
    [InlineData(new byte[] { 0xC0, 0xAF }, "\uFFFD\uFFFD")]       // overlong
    [InlineData(new byte[] { 0xF0, 0x9F, 0x98, 0x80 }, "\U0001F600")]
    public void BytesThatAreNotUtf8_BecomeReplacementCharacters(byte[] bytes, string expected)
    {
        Assert.Equal(expected, Read([.. "{\"text\":\""u8, .. bytes, .. "\"}"u8]).Text);
        Assert.Equal(expected + "\n", Read([.. "{\"text\":\""u8, .. bytes, .. "\\n\"}"u8]).Text);
        Assert.Equal(expected, Assert.Single(Read([.. "{\"map\":{\""u8, .. bytes, .. "\":\"\"}}"u8]).Map!).Key);
        Assert.Equal("a", Read([.. "{\"x"u8, .. bytes, .. "\":1,\"text\":\"a\"}"u8]).Text);
    }

    [Theory]
    [InlineData('[', ']')]
    [InlineData('{', '}')]
    public void Nesting_GoesToTenThousand(char open, char close)
    {
        string Nested(int depth) => open == '[' ? new string('[', depth) + new string(']', depth)
            : string.Concat(Enumerable.Repeat("{\"a\":", depth - 1)) + "{}" + new string(close, depth - 1);
        Assert.Equal("a", Read(Encoding.UTF8.GetBytes($$"""{"x":{{Nested(9_999)}},"text":"a"}""")).Text);
        Assert.Throws<JsonException>(() => Read(Encoding.UTF8.GetBytes($$"""{"x":{{Nested(10_000)}},"text":"a"}""")));
    }

    [Fact]
    public void Ranges_AreThoseOfTheValues()
    {
        byte[] document = """ {"a" : [1, {"b":"]"}] ,"c":-7e3,"d":"x\"y" , "e":null}"""u8.ToArray();
        var texts = new List<string>();
        GoJsonReader.Read(document, (ref json) =>
        {
            json.ReadObject((ref json, _) => texts.Add(Encoding.UTF8.GetString(document.AsSpan()[json.ReadRange()])));
            return 0;
        });
        Assert.Equal(["[1, {\"b\":\"]\"}]", "-7e3", "\"x\\\"y\"", "null"], texts);
    }
}
