using System.CommandLine;
using System.Text.Json.Serialization.Metadata;

namespace LazyMount.Output;

/// <summary>JSON that a command writes.</summary>
/// <param name="MakeType">The type of a line or of the document. Made when it is asked for: no command needs those of all others.</param>
/// <param name="IsLines">One object a line for each result; else one document.</param>
/// <param name="With">The option that is needed besides <c>--json</c>; null for none.</param>
internal sealed record JsonForm(Func<JsonTypeInfo> MakeType, bool IsLines, string? With = null)
{
    /// <summary>The type of a line or of the document.</summary>
    public JsonTypeInfo Type => MakeType();
}

/// <summary>The option <c>--json</c> of a command. Its help is made from the types that the command writes, and so is docs/json.md.</summary>
internal sealed class JsonOption : Option<bool>
{
    private readonly string _note;

    private JsonOption(JsonForm[] forms, string note)
        : base("--json") => (Forms, _note) = (forms, note);

    /// <summary>What help says of it.</summary>
    public string Help => string.Join("; ", Forms.Select((form, i)
        => $"{(i == 0 ? "Write JSON" : "")}{(form.With is null ? "" : $"{(i == 0 ? ", " : "")}with {form.With}")}{(form.IsLines ? ", one object a line" : "")}: {ShapeOf(form.Type)}")) + _note;

    /// <summary>What the command writes.</summary>
    public IReadOnlyList<JsonForm> Forms { get; }

    /// <summary>For a command that writes one object a line.</summary>
    /// <param name="type">The type of a line.</param>
    /// <param name="note">What else its help says.</param>
    public static JsonOption Lines(Func<JsonTypeInfo> type, string note = "") => new([new JsonForm(type, IsLines: true)], note);

    /// <summary>For a command that writes one document.</summary>
    public static JsonOption Document(Func<JsonTypeInfo> type, string note = "") => new([new JsonForm(type, IsLines: false)], note);

    /// <summary>For a command whose other options change what it writes.</summary>
    public static JsonOption Either(params JsonForm[] forms) => new(forms, "");

    // Names of exact bytes are left out: docs/json.md has them.
    private static string ShapeOf(JsonTypeInfo type, int depth = 0) => type.Kind switch
    {
        JsonTypeInfoKind.Enumerable when depth == 0 => $"an array of {ShapeOf(type.Options.GetTypeInfo(type.ElementType!))}",
        JsonTypeInfoKind.Enumerable => $"[{ShapeOf(type.Options.GetTypeInfo(type.ElementType!), depth)}]",
        JsonTypeInfoKind.Object when depth == 0 => $"{{ {string.Join(", ", type.Properties.Where(property => !IsExact(property)).Select(property => property.Name + Inner(property, depth)))} }}",
        JsonTypeInfoKind.Object => "{…}",
        _ => "",
    };

    private static string Inner(JsonPropertyInfo property, int depth)
        => ShapeOf(property.Options.GetTypeInfo(property.PropertyType), depth + 1) is { Length: > 0 } inner and not "[]" ? $": {inner}" : "";

    private static bool IsExact(JsonPropertyInfo property) => property.Name.EndsWith("Base64", StringComparison.Ordinal) && !property.IsRequired;
}
