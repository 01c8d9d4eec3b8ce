using System.Text.Json;
using System.Text.Json.Serialization;
using LazyMount.Blobs.Files;

namespace LazyMount.Mounting;

/// <summary>A path in JSON: a string, or its bytes in base64 in an array when they are not UTF-8.</summary>
internal sealed class PathConverter : JsonConverter<string>
{
    public override string Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return reader.GetString() ?? "";
        }
        if (!reader.Read() || reader.TokenType != JsonTokenType.String || !reader.TryGetBytesFromBase64(out byte[]? bytes) || !reader.Read() || reader.TokenType != JsonTokenType.EndArray)
        {
            throw new JsonException("not a path");
        }
        return PathText.Decode(bytes);
    }

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options)
    {
        if (PathText.IsText(value))
        {
            writer.WriteStringValue(value);
            return;
        }
        writer.WriteStartArray();
        writer.WriteBase64StringValue(PathText.Encode(value));
        writer.WriteEndArray();
    }
}
