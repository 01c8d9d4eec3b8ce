using System.Text;
using LazyMount.Blobs.Images;
using Tomlyn;
using Tomlyn.Model;
using Tomlyn.Parsing;
using Tomlyn.Serialization;
using Tomlyn.Syntax;

namespace LazyMount.Blobs.Registry.Hosts;

/// <summary>A table of a TOML file, whose wrong values are told with the file and the key.</summary>
public sealed class TomlFile
{
    private static readonly UTF8Encoding s_encoding = new(encoderShouldEmitUTF8Identifier: true, throwOnInvalidBytes: true);

    private readonly TomlTable _table;
    private readonly string _place; // the keys that lead to the table

    private TomlFile(string path, TomlTable table, string place) => (Path, _table, _place) = (path, table, place);

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Its keys, in the order of the file.</summary>
    public IEnumerable<string> Keys => _table.Keys;

    /// <summary>Reads a file; null when there is none.</summary>
    /// <exception cref="ImageException">It cannot be read, or is no TOML.</exception>
    public static TomlFile? TryRead(string path)
    {
        try
        {
            if (ConfigurationFile.TryRead(path) is not { } bytes)
                return null;
            string text = s_encoding.GetString(bytes.AsSpan().StartsWith(s_encoding.Preamble) ? bytes.AsSpan(s_encoding.Preamble.Length) : bytes);
            // Only the validation tells a key that is set twice.
            DiagnosticMessage? error = SyntaxParser.Parse(text, path, validate: true).Diagnostics.FirstOrDefault(each => each.Kind == DiagnosticMessageKind.Error);
            return error is null ? new TomlFile(path, TomlSerializer.Deserialize(text, TomlDocument.Default.TomlTable) ?? [], "")
                : throw Unusable(path, $"line {error.Span.Start.Line + 1}: {Printable.Of(WithoutContent(error.Message))}");
        }
        catch (InvalidDataException e)
        {
            throw Unusable(path, e.Message, e);
        }
        catch (DecoderFallbackException e)
        {
            throw Unusable(path, "it is not UTF-8 text", e);
        }
        // The parser fails so at a backslash in front of the end of the text or of a character that it does not know.
        catch (Exception e) when (e is TomlException or ArgumentException)
        {
            throw Unusable(path, "it is not TOML, or its tables are too deep", e);
        }
    }

    // What the message quotes may be a password: the text from its first to its last backquote, and "instead of TEXT".
    private static string WithoutContent(string message)
    {
        message = message.Split(" instead of ")[0];
        int first = message.IndexOf('`', StringComparison.Ordinal), last = message.LastIndexOf('`');
        return (last - first > 2 ? $"{message[..first]}…{message[(last + 1)..]}" : message).TrimEnd('.');
    }

    /// <summary>A table; null when the key is not there.</summary>
    public TomlFile? Table(string key) => Get(key) switch
    {
        null => null,
        TomlTable table => new TomlFile(Path, table, NameOf(key)),
        _ => throw Wrong(key, "a table"),
    };

    /// <summary>The key is there.</summary>
    public bool Has(string key) => Get(key) is not null;

    /// <summary>The tables of an array, written as [[KEY]] or as KEY = [{…}]; none when the key is not there.</summary>
    public IEnumerable<TomlFile> Tables(string key) => Get(key) switch
    {
        null => [],
        TomlTableArray tables => TablesOf(key, tables),
        TomlArray array when array.All(each => each is TomlTable) => TablesOf(key, array.Cast<TomlTable>()),
        _ => throw Wrong(key, "an array of tables"),
    };

    /// <summary>A string; null when the key is not there.</summary>
    public string? Text(string key) => Get(key) switch
    {
        null => null,
        string text => text,
        _ => throw Wrong(key, "a string"),
    };

    /// <summary>A Boolean value; false when the key is not there.</summary>
    public bool Flag(string key) => Get(key) switch
    {
        null => false,
        bool flag => flag,
        _ => throw Wrong(key, "true or false"),
    };

    /// <summary>A string or an array of strings; empty when the key is not there.</summary>
    public IReadOnlyList<string> Texts(string key) => Get(key) switch
    {
        null => [],
        string text => [text],
        TomlArray array when array.All(each => each is string) => [.. array.Cast<string>()],
        _ => throw Wrong(key, "a string or an array of strings"),
    };

    /// <summary>A string, an array of strings or an array of arrays of strings, as an array of arrays; empty when the key is not there.</summary>
    public IReadOnlyList<IReadOnlyList<string>> TextLists(string key) => Get(key) switch
    {
        null => [],
        string text => [[text]],
        TomlArray array when array.All(each => each is string || (each is TomlArray list && list.All(text => text is string)))
            => [.. array.Select(each => each is string file ? (IReadOnlyList<string>)[file] : [.. ((TomlArray)each!).Cast<string>()])],
        _ => throw Wrong(key, "a string, an array of strings or an array of arrays of strings"),
    };

    /// <summary>The error that a value is not what it should be.</summary>
    public ImageException Wrong(string key, string wanted) => Unusable(Path, $"{Printable.Of(EndpointUrl.WithoutUserInfo(NameOf(key)))} is not {wanted}");

    private static ImageException Unusable(string path, string reason, Exception? cause = null)
        => new(ImageError.Local, $"cannot use the configuration file '{Printable.Of(path)}': {reason}; correct it", cause);

    private TomlFile[] TablesOf(string key, IEnumerable<TomlTable> tables) => [.. tables.Select((table, i) => new TomlFile(Path, table, $"{NameOf(key)}[{i}]"))];

    // In any case, as the engines' decoders read keys: "Blocked" is "blocked".
    private object? Get(string key)
        => _table.TryGetValue(key, out object? value) ? value : _table.FirstOrDefault(each => each.Key.Equals(key, StringComparison.OrdinalIgnoreCase)).Value;

    private string NameOf(string key) => _place.Length == 0 ? key : $"{_place}.{key}";
}

/// <summary>Reads any document, without reflection.</summary>
[TomlSerializable(typeof(TomlTable))]
internal sealed partial class TomlDocument : TomlSerializerContext;
