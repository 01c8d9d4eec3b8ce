using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace LazyMount.Output;

/// <summary>
/// Results as JSON Lines: one compact object a line, so that a reader can use each result when it comes. Documents, which are read as a
/// whole, are written by <see cref="CommandOutput.WriteDocument"/>. Not thread-safe.
/// </summary>
internal sealed class JsonLines : IDisposable
{
    private readonly CommandOutput _output;
    private readonly ArrayBufferWriter<byte> _line = new(); // a writer on the stream would flush it, and so call the kernel, for each line
    private readonly Utf8JsonWriter _json;

    public JsonLines(CommandOutput output)
    {
        _output = output;
        _json = new Utf8JsonWriter(_line, CommandOutput.JsonOptions(isIndented: false));
    }

    /// <summary>Writes an object as a line.</summary>
    public void Write<T>(T line, JsonTypeInfo<T> type)
    {
        JsonSerializer.Serialize(_json, line, type);
        _output.Write(_line.WrittenSpan);
        _output.WriteLine();
        _json.Reset();
        _line.ResetWrittenCount();
    }

    public void Dispose() => _json.Dispose();
}
