using System.Text.Encodings.Web;
using System.Text.Json;

namespace LazyMount.Output;

/// <summary>
/// Results as JSON Lines: one compact object a line, so that a reader can use each result when it comes. Documents, which are read as a
/// whole, are written by <see cref="CommandOutput.WriteDocument"/>. Not thread-safe.
/// </summary>
internal sealed class JsonLines(CommandOutput output) : IDisposable
{
    private readonly Utf8JsonWriter _json = new(output.Stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = int.MaxValue });

    /// <summary>Begins a line; its properties are written with the writer that is returned.</summary>
    public Utf8JsonWriter Begin()
    {
        _json.WriteStartObject();
        return _json;
    }

    /// <summary>Ends the line.</summary>
    public void End()
    {
        _json.WriteEndObject();
        _json.Flush();
        _json.Reset();
        output.WriteLine();
    }

    public void Dispose() => _json.Dispose();
}
