using System.CommandLine;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Xml.Linq;
using LazyMount.Cli;
using LazyMount.Output;

namespace LazyMount.Tests.Commands;

/// <summary>
/// docs/json.md, made from the types that commands write with <c>--json</c>. What a name means is said once, in the summary of one property;
/// others of the same name refer to it with <c>inheritdoc</c>.
/// </summary>
internal static class JsonPage
{
    private static readonly Dictionary<string, XElement> s_comments = XDocument
        .Load(Path.ChangeExtension(typeof(JsonOption).Assembly.Location, ".xml")).Descendants("member").ToDictionary(member => (string)member.Attribute("name")!);

    /// <summary>One property of an object.</summary>
    /// <param name="Name">Its name in JSON.</param>
    /// <param name="Property">What it is made from.</param>
    /// <param name="Json">How it is written.</param>
    internal sealed record Field(string Name, PropertyInfo Property, JsonPropertyInfo Json)
    {
        /// <summary>Every object has it.</summary>
        public bool IsAlwaysThere => !Json.IsGetNullable && Nullable.GetUnderlyingType(Property.PropertyType) is null;
    }

    /// <summary>The commands that have <c>--json</c>, in the order of help.</summary>
    public static IReadOnlyList<(string Command, JsonForm Form)> Commands { get; } = FindCommands();

    /// <summary>The types of objects, each once, in the order in which commands write them.</summary>
    public static IReadOnlyList<JsonTypeInfo> Objects { get; } = FindObjects();

    public static IReadOnlyList<Field> FieldsOf(JsonTypeInfo type) => [.. type.Properties.Where(property => property.Get is not null).Select(property => new Field(
        property.Name, type.Type.GetProperties().Single(each => JsonNamingPolicy.CamelCase.ConvertName(each.Name) == property.Name), property))];

    public static JsonTypeInfo Of(Type type) => ListingJson.Default.GetTypeInfo(type)!;

    /// <summary>Such as "array of objects": the same wherever a name stands.</summary>
    public static string KindOf(Type type)
    {
        JsonTypeInfo json = Of(type = Nullable.GetUnderlyingType(type) ?? type);
        return json.Kind switch
        {
            JsonTypeInfoKind.Object => "object",
            JsonTypeInfoKind.Enumerable => $"array of {KindOf(json.ElementType!)}s",
            _ when type == typeof(bool) => "boolean",
            _ => type == typeof(string) || type == typeof(DateTime) || type == typeof(byte[]) ? "string" : "number",
        };
    }

    /// <summary>The summary of a property; null if it refers to another one.</summary>
    public static string? OwnMeaningOf(PropertyInfo property) => CommentOf(property).Element("summary") is { } summary ? Flat(summary.Value) : null;

    /// <summary>What a property means.</summary>
    public static string MeaningOf(PropertyInfo property)
    {
        XElement comment = CommentOf(property);
        while (comment.Element("summary") is null)
        {
            comment = s_comments[(string)comment.Element("inheritdoc")!.Attribute("cref")!];
        }
        return Flat(comment.Element("summary")!.Value);
    }

    /// <summary>"LayerEntryListing" is "layer entry".</summary>
    public static string TitleOf(JsonTypeInfo type)
        => string.Concat(type.Type.Name[..^"Listing".Length].Select((letter, i) => char.IsUpper(letter) ? $"{(i > 0 ? " " : "")}{char.ToLowerInvariant(letter)}" : $"{letter}"));

    public static string Write()
    {
        var page = new StringBuilder(
            """
            # JSON

            <!-- Written by JsonTests from the types and their comments: LAZYMOUNT_WRITE_DOCS=1 writes it anew. -->

            With `--json`, commands whose results are a stream write JSON Lines: one object a line, which can be used as they come. The others write one
            document. White space and the order of properties may change; names, types and meanings may not.

            - A name means the same in every command. The table at the end has each name once.
            - What is not known or does not apply is left out; nothing is `null`. Below, `?` marks what may be left out.
            - Times are RFC 3339 in UTC, with as many digits of the second as are known: `2026-01-31T12:00:00.5Z`. A time that no calendar
              holds is `@` and the seconds since 1970.
            - Sizes are in bytes. Digests are `sha256:` and hexadecimal digits.
            - Names in an image are bytes. In one that is not UTF-8, U+FFFD stands for what is not, and the exact bytes are in base64 in the property
              with `Base64` behind the name.
            - Errors are sentences on standard error, and never JSON. The exit code is that of the command without `--json`.

            ## Commands

            | command | writes | each |
            |---|---|---|

            """.ReplaceLineEndings("\n"));
        foreach ((string command, JsonForm form) in Commands)
        {
            JsonTypeInfo one = form.Type.Kind == JsonTypeInfoKind.Enumerable ? Of(form.Type.ElementType!) : form.Type;
            page.Append($"| `{command}`{(form.With is { } with ? $" with `{with}`" : "")} | {(form.IsLines ? "lines" : form.Type == one ? "a document" : "a document, an array")} | {Link(one)} |\n");
        }
        page.Append("\n## Objects\n");
        foreach (JsonTypeInfo type in Objects)
        {
            page.Append($"\n### {TitleOf(type)}\n\n{string.Join(", ", FieldsOf(type).Select(field => $"`{field.Name}`{(field.IsAlwaysThere ? "" : "?")}"))}\n");
        }
        page.Append("\n## Names\n\n| name | type | meaning |\n|---|---|---|\n");
        foreach (IGrouping<string, Field> name in Objects.SelectMany(FieldsOf).GroupBy(field => field.Name).OrderBy(name => name.Key, StringComparer.Ordinal))
        {
            page.Append($"| `{name.Key}` | {string.Join(" or ", name.Select(field => TypeOf(field.Property.PropertyType)).Distinct())} | {MeaningOf(name.First().Property)} |\n");
        }
        return page.ToString();
    }

    private static string TypeOf(Type type) => Of(Nullable.GetUnderlyingType(type) ?? type) switch
    {
        { Kind: JsonTypeInfoKind.Object } json => Link(json),
        { Kind: JsonTypeInfoKind.Enumerable } json when Of(json.ElementType!).Kind == JsonTypeInfoKind.Object => $"array of {Link(Of(json.ElementType!))}",
        _ => KindOf(type),
    };

    private static string Link(JsonTypeInfo type) => $"[{TitleOf(type)}](#{TitleOf(type).Replace(' ', '-')})";

    private static XElement CommentOf(PropertyInfo property) => s_comments[$"P:{property.DeclaringType!.FullName}.{property.Name}"];

    private static string Flat(string text) => string.Join(' ', text.Split([' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries));

    private static List<(string, JsonForm)> FindCommands()
    {
        using var output = new CommandOutput(Stream.Null, isTerminal: false);
        return [.. Below(CommandLine.Create(new CommandHost { Arguments = [], Output = output, Error = TextWriter.Null }))
            .SelectMany(command => command.Options.OfType<JsonOption>().SelectMany(option => option.Forms.Select(form => (Verb.FullNameOf(command)["lazymount ".Length..], form))))];

        static IEnumerable<Command> Below(Command command) => HelpText.Shown(command.Subcommands).SelectMany(sub => Below(sub).Prepend(sub));
    }

    private static List<JsonTypeInfo> FindObjects()
    {
        var found = new List<JsonTypeInfo>();
        foreach ((_, JsonForm form) in Commands)
        {
            Add(form.Type);
        }
        return found;

        void Add(JsonTypeInfo type)
        {
            if (type.Kind == JsonTypeInfoKind.Enumerable)
            {
                Add(Of(type.ElementType!));
            }
            else if (type.Kind == JsonTypeInfoKind.Object && !found.Contains(type))
            {
                found.Add(type);
                foreach (Field field in FieldsOf(type))
                {
                    Add(Of(field.Property.PropertyType));
                }
            }
        }
    }
}
