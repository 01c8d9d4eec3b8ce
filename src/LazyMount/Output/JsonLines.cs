using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace LazyMount.Output;

/// <summary>
/// Results as JSON Lines: one compact object a line, so that a reader can use each result when it comes. Documents, which are read as a
/// whole, are written by <see cref="CommandOutput.WriteDocument"/>. Not thread-safe.
/// </summary>
internal sealed class JsonLines(CommandOutput output) : IDisposable
{
    private readonly Utf8JsonWriter _json = output.CreateJsonWriter(isIndented: false);

    /// <summary>Writes an object as a line.</summary>
    public void Write<T>(T line, JsonTypeInfo<T> type)
    {
        JsonSerializer.Serialize(_json, line, type);
        _json.Flush();
        _json.Reset();
        output.WriteLine();
    }

    public void Dispose() => _json.Dispose();
}
