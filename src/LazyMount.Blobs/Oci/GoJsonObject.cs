using System.Text;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// A manifest, an image index or a part of one, to be changed and written byte for byte as Go's encoding/json writes the structs of
/// image-spec v1.1 (specs-go/v1): compact, known members in the order of the struct, maps sorted by key, <c>&lt;</c>, <c>&gt;</c> and
/// <c>&amp;</c> escaped. A tool in Go that reads the document and writes it again makes the same bytes, so its digest stays.
/// <para>Members that the structs do not have stay as they are, after the known ones. A value is a string, a number or a truth
/// value (<see cref="Raw"/>), a list, an object, or null.</para>
/// </summary>
internal sealed class GoJsonObject
{
    // A member whose name ends in "?" has omitempty: its empty value is not written.
    private static readonly Shape s_plain = new();
    private static readonly Shape s_map = new() { IsMap = true };
    private static readonly Shape s_platform = new("architecture", "os", "os.version?", "os.features?", "variant?");
    private static readonly Shape s_descriptor = new("mediaType", "digest", "size", "urls?", "annotations?", "data?", "platform?", "artifactType?")
    {
        Inner = { ["annotations"] = s_map, ["platform"] = s_platform },
    };
    private static readonly Shape s_index = new("schemaVersion", "mediaType?", "artifactType?", "manifests", "subject?", "annotations?")
    {
        Inner = { ["manifests"] = s_descriptor, ["subject"] = s_descriptor, ["annotations"] = s_map },
    };
    private static readonly Shape s_manifest = new("schemaVersion", "mediaType?", "artifactType?", "config", "layers", "subject?", "annotations?")
    {
        Inner = { ["config"] = s_descriptor, ["layers"] = s_descriptor, ["subject"] = s_descriptor, ["annotations"] = s_map },
    };

    private readonly Shape _shape;
    private readonly OrderedDictionary<string, object?> _members;

    private GoJsonObject(Shape shape)
        => (_shape, _members) = (shape, new(shape.IsMap ? StringComparer.Ordinal : StringComparer.OrdinalIgnoreCase));

    /// <summary>JSON text that is written unchanged.</summary>
    public sealed record Raw(string Text);

    /// <summary>An image index without entries.</summary>
    public static GoJsonObject NewIndex() => new(s_index) { ["schemaVersion"] = new Raw("2"), ["mediaType"] = MediaTypes.OciIndex, ["manifests"] = new List<object?>() };

    /// <summary>A manifest that has no config and no layers yet.</summary>
    public static GoJsonObject NewManifest() => new(s_manifest) { ["schemaVersion"] = new Raw("2"), ["mediaType"] = MediaTypes.OciManifest };

    /// <summary>A map of strings.</summary>
    public static GoJsonObject Of(IReadOnlyDictionary<string, string> map)
    {
        var json = new GoJsonObject(s_map);
        foreach ((string key, string value) in map)
            json[key] = value;
        return json;
    }

    /// <summary>A descriptor.</summary>
    public static GoJsonObject Of(Descriptor descriptor) => new(s_descriptor)
    {
        ["mediaType"] = descriptor.MediaType,
        ["digest"] = descriptor.Digest.ToString(),
        ["size"] = SizeOf(descriptor),
        ["urls"] = descriptor.Urls?.ToList<object?>(),
        ["annotations"] = descriptor.Annotations is { } annotations ? Of(annotations) : null,
        ["platform"] = descriptor.Platform is not { } platform ? null : new GoJsonObject(s_platform)
        {
            ["architecture"] = platform.Architecture,
            ["os"] = platform.Os,
            ["os.version"] = platform.OsVersion,
            ["variant"] = platform.Variant,
        },
        ["artifactType"] = descriptor.ArtifactType,
    };

    /// <summary>A descriptor's size as a value.</summary>
    public static Raw SizeOf(Descriptor descriptor) => new(descriptor.Size.ToString(System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>Reads an image index.</summary>
    /// <param name="index">Sound (<see cref="ManifestDocument.Parse"/>).</param>
    public static GoJsonObject ReadIndex(ReadOnlyMemory<byte> index) => Read(index, s_index);

    /// <summary>Reads a manifest.</summary>
    /// <param name="manifest">Sound (<see cref="ManifestDocument.Parse"/>).</param>
    public static GoJsonObject ReadManifest(ReadOnlyMemory<byte> manifest) => Read(manifest, s_manifest);

    /// <summary>A member; null when there is none. Names differ in more than case, except in maps.</summary>
    public object? this[string name]
    {
        get => _members.GetValueOrDefault(name);
        set => _members[name] = value;
    }

    /// <summary>A member that is a list; empty, and added, when there is none.</summary>
    public List<object?> List(string name)
    {
        if (this[name] is not List<object?> list)
            this[name] = list = [];
        return list;
    }

    /// <summary>The map of annotations; empty, and added, when there is none.</summary>
    public GoJsonObject Annotations()
    {
        if (this["annotations"] is not GoJsonObject annotations)
            this["annotations"] = annotations = new GoJsonObject(s_map);
        return annotations;
    }

    /// <summary>The document.</summary>
    public byte[] ToBytes()
    {
        var text = new StringBuilder();
        Append(text, this);
        return Encoding.UTF8.GetBytes(text.ToString());
    }

    private static GoJsonObject Read(ReadOnlyMemory<byte> document, Shape shape)
        => GoJsonReader.Read(document.Span, (ref json) => ReadObject(ref json, document, shape));

    private static GoJsonObject ReadObject(ref GoJsonReader json, ReadOnlyMemory<byte> document, Shape shape)
    {
        var read = new GoJsonObject(shape);
        json.ReadObject((ref json, key) => read[key] = ReadValue(ref json, document, shape.InnerOf(key)));
        return read;
    }

    private static object? ReadValue(ref GoJsonReader json, ReadOnlyMemory<byte> document, Shape? shape)
    {
        switch (document.Span[json.Start])
        {
            case (byte)'"':
                return json.ReadString();
            case (byte)'{' when shape is not null:
                return ReadObject(ref json, document, shape);
            case (byte)'[' when shape is not null:
                return json.ReadList((ref json) => ReadValue(ref json, document, shape));
            default:
                string text = Encoding.UTF8.GetString(document.Span[json.ReadRange()]);
                return text == "null" ? null : new Raw(text);
        }
    }

    private static void Append(StringBuilder text, object? value)
    {
        switch (value)
        {
            case GoJsonObject json:
                text.Append('{');
                string before = "";
                foreach ((string name, object? member) in json._shape.Order(json._members))
                {
                    text.Append(before);
                    AppendString(text, name);
                    text.Append(':');
                    Append(text, member);
                    before = ",";
                }
                text.Append('}');
                break;
            case List<object?> items:
                text.Append('[');
                for (int i = 0; i < items.Count; i++)
                {
                    text.Append(i > 0 ? "," : "");
                    Append(text, items[i]);
                }
                text.Append(']');
                break;
            case string plain:
                AppendString(text, plain);
                break;
            default:
                text.Append((value as Raw)?.Text ?? "null");
                break;
        }
    }

    private static void AppendString(StringBuilder text, string value)
    {
        text.Append('"');
        foreach (char c in value)
        {
            _ = c switch
            {
                '"' or '\\' => text.Append('\\').Append(c),
                '\n' => text.Append("\\n"),
                '\r' => text.Append("\\r"),
                '\t' => text.Append("\\t"),
                '\b' => text.Append("\\b"),
                '\f' => text.Append("\\f"),
                < ' ' or '<' or '>' or '&' or '\u2028' or '\u2029' => text.Append($"\\u{(int)c:x4}"),
                _ => text.Append(c),
            };
        }
        text.Append('"');
    }

    /// <summary>A struct of Go: its members in their order. Or a map.</summary>
    private sealed class Shape(params string[] fields)
    {
        private static readonly IComparer<string> s_byBytes = Comparer<string>.Create(static (a, b) => Encoding.UTF8.GetBytes(a).AsSpan().SequenceCompareTo(Encoding.UTF8.GetBytes(b)));

        private readonly HashSet<string> _known = new(fields.Select(field => field.TrimEnd('?')), StringComparer.OrdinalIgnoreCase);

        public bool IsMap { get; init; }

        /// <summary>The shapes of members that are objects, or lists of them.</summary>
        public Dictionary<string, Shape> Inner { get; } = new(StringComparer.OrdinalIgnoreCase);

        /// <summary>Null for a member that is not known, which is not looked into.</summary>
        public Shape? InnerOf(string name) => Inner.GetValueOrDefault(name) ?? (_known.Contains(name) ? s_plain : null);

        public IEnumerable<(string Name, object? Value)> Order(OrderedDictionary<string, object?> members)
        {
            if (IsMap)
                return members.OrderBy(each => each.Key, s_byBytes).Select(each => (each.Key, each.Value));
            var ordered = new List<(string, object?)>();
            foreach (string field in fields)
            {
                string name = field.TrimEnd('?');
                if (members.GetValueOrDefault(name) is { } value && !(name != field && IsEmpty(value)))
                    ordered.Add((name, value));
            }
            ordered.AddRange(members.Where(each => !_known.Contains(each.Key)).Select(each => (each.Key, each.Value)));
            return ordered;
        }

        private static bool IsEmpty(object value) => value is "" or List<object?> { Count: 0 } or GoJsonObject { _shape.IsMap: true, _members.Count: 0 };
    }
}
