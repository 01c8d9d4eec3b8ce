using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using LazyMount.Cli;
using Spectre.Console;

namespace LazyMount.Output;

/// <summary>
/// Standard output as bytes: names and contents leave as the image has them. On a terminal, names lose what could
/// drive it: control characters and bytes that are not UTF-8 become "?", as <c>ls -q</c> does.
/// </summary>
/// <param name="stream">Where the bytes go; owned.</param>
/// <param name="isTerminal">Somebody reads along.</param>
/// <param name="width">The columns of the terminal.</param>
internal sealed class CommandOutput(Stream stream, bool isTerminal, int width = Terminal.UsualWidth) : IDisposable
{
    /// <summary>UTF-8, with "?" for every lone surrogate, that is for every byte of a name that is not UTF-8.</summary>
    private static readonly Encoding s_displayed = Encoding.GetEncoding("utf-8", new EncoderReplacementFallback("?"), DecoderFallback.ReplacementFallback);

    private readonly BufferedStream _stream = new(stream, 64 << 10);

    /// <summary>Somebody reads along.</summary>
    public bool IsTerminal => isTerminal;

    /// <summary>The columns of the terminal; null when the output is no terminal and lines may be of any length.</summary>
    public int? Width => isTerminal ? width : null;

    /// <summary>A number of bytes: for people such as "1.3 GiB", for programs exact.</summary>
    public string Size(long bytes) => isTerminal ? ByteSize.Format(bytes) : bytes.ToString(CultureInfo.InvariantCulture);

    /// <summary>A digest: for people its first 12 hexadecimal digits, for programs all of it.</summary>
    public string DigestText(string digest) => isTerminal ? ShortDigest(digest) : digest;

    /// <summary>The first 12 hexadecimal digits of a digest, as docker shows them.</summary>
    public static string ShortDigest(string digest)
    {
        const int Length = 12;
        string hex = digest[(digest.IndexOf(':', StringComparison.Ordinal) + 1)..];
        return hex.Length > Length ? hex[..Length] : hex;
    }

    /// <summary>The buffered stream itself, for writers of whole documents.</summary>
    public Stream Stream => _stream;

    public void Write(ReadOnlySpan<byte> bytes) => _stream.Write(bytes);

    public void Write(string text) => _stream.Write(Encode(text, isTerminal));

    public void WriteLine(string text = "")
    {
        Write(text);
        _stream.WriteByte((byte)'\n');
    }

    /// <summary>How JSON is written: text outside ASCII stays as it is, and trees may be deep.</summary>
    public static JsonWriterOptions JsonOptions(bool isIndented) => new()
    {
        Indented = isIndented,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        MaxDepth = int.MaxValue,
    };

    /// <summary>Writes a document of JSON and ends the line.</summary>
    public void WriteDocument<T>(T document, JsonTypeInfo<T> type)
    {
        using (var json = new Utf8JsonWriter(_stream, JsonOptions(isIndented: true)))
        {
            JsonSerializer.Serialize(json, document, type);
        }
        WriteLine();
    }

    /// <summary>Writes a name, path or link target out of an image.</summary>
    public void WriteName(ReadOnlySpan<byte> name)
    {
        if (isTerminal)
        {
            Write(Displayable(name));
        }
        else
        {
            Write(name);
        }
    }

    /// <summary>Columns of a terminal that a name takes when <see cref="WriteName"/> has written it.</summary>
    public static int WidthOf(ReadOnlySpan<byte> name) => Ascii.IsValid(name) ? name.Length : WidthOf(Displayable(name));

    /// <summary>Columns of a terminal that text takes: two for an ideogram or emoji, none for a combining character.</summary>
    public static int WidthOf(string text) => Ascii.IsValid(text) ? text.Length : text.GetCellWidth();

    public void Flush() => _stream.Flush();

    /// <summary>Flushes; the stream below is closed.</summary>
    public void Dispose() => _stream.Dispose();

    /// <summary>
    /// The bytes of text that may hold names (<see cref="ImagePathText"/>): a name leaves with its own bytes, but a terminal gets "?" for
    /// those that are not UTF-8.
    /// </summary>
    public static byte[] Encode(string text, bool forTerminal) => forTerminal ? s_displayed.GetBytes(text) : ImagePathText.Encode(text);

    /// <summary>Text that may be shown on a terminal.</summary>
    public static string Displayable(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder(bytes.Length);
        while (!bytes.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(bytes, out Rune rune, out int consumed) != System.Buffers.OperationStatus.Done || Rune.IsControl(rune))
            {
                text.Append('?');
            }
            else
            {
                text.Append(rune.ToString());
            }
            bytes = bytes[consumed..];
        }
        return text.ToString();
    }

    /// <summary>Text without control characters, such as an error message that quotes a name. Lone surrogates stay: see <see cref="Encode"/>.</summary>
    public static string Displayable(string text)
        => string.Create(text.Length, text, static (to, from) =>
        {
            for (int i = 0; i < from.Length; i++)
            {
                to[i] = char.IsControl(from[i]) ? '?' : from[i];
            }
        });
}
