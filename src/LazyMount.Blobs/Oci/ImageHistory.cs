using System.Text;
using System.Text.Json;

namespace LazyMount.Blobs.Oci;

/// <summary>One step of an image's build, as the image's config lists it (image-spec v1.1, config.md, "history").</summary>
public sealed record HistoryEntry
{
    /// <summary>When it was made, since 1970. Null when the config does not tell, or not as RFC 3339 has it.</summary>
    public required (long Seconds, uint Nanoseconds)? Created { get; init; }

    /// <summary>The command. Empty when not told.</summary>
    public required string CreatedBy { get; init; }

    /// <summary>Who made it. Empty when not told.</summary>
    public required string Author { get; init; }

    /// <summary>A remark. Empty when there is none.</summary>
    public required string Comment { get; init; }

    /// <summary>The step made no layer.</summary>
    public required bool IsEmpty { get; init; }

    /// <summary>The command as people read it: on one line, without what docker puts before instructions that run nothing.</summary>
    public string Command
    {
        get
        {
            const string NoOperation = "/bin/sh -c #(nop)";
            string command = CreatedBy.StartsWith(NoOperation, StringComparison.Ordinal) ? CreatedBy[NoOperation.Length..] : CreatedBy;
            return string.Join(' ', command.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        }
    }
}

/// <summary>One line of an image's history: a layer, a step that made none, or a layer with the step that made it.</summary>
/// <param name="Layer">The layer's number, lowest 0; null for a step without a layer.</param>
/// <param name="Entry">The step; null when the config does not tell which made the layer.</param>
public readonly record struct HistoryStep(int? Layer, HistoryEntry? Entry);

/// <summary>What made the layers of an image, lowest first: the history in its config, joined with its layers.</summary>
/// <param name="Steps">Every layer once, and all entries of the history.</param>
/// <param name="Problem">Why the history says nothing of the layers, as the end of a sentence; null when it does.</param>
public sealed record ImageHistory(IReadOnlyList<HistoryStep> Steps, string? Problem)
{
    /// <summary>The step that made a layer; null when the config does not tell.</summary>
    public HistoryEntry? Of(int layer) => Steps.First(step => step.Layer == layer).Entry;

    /// <summary>
    /// Joins the entries of a config's history that made layers with the layers, in order. When there are not as many of one as of the other,
    /// nothing tells which entry made which layer: the layers are then listed first, and all entries follow.
    /// </summary>
    public static ImageHistory Read(ReadOnlySpan<byte> config, int layers)
    {
        IReadOnlyList<HistoryEntry>? entries = TryParse(config);
        int made = entries?.Count(entry => !entry.IsEmpty) ?? 0;
        if (made == layers)
        {
            int layer = 0;
            return new ImageHistory([.. (entries ?? []).Select(entry => new HistoryStep(entry.IsEmpty ? null : layer++, entry))], null);
        }
        string problem = entries is null ? "its config is not an image config with a history that can be read"
            : entries.Count == 0 ? "its config has no history"
            : $"the history in its config names {made} layer(s), but the image has {layers}";
        return new ImageHistory([.. Enumerable.Range(0, layers).Select(layer => new HistoryStep(layer, null)), .. (entries ?? []).Select(entry => new HistoryStep(null, entry))], problem);
    }

    // Apart from ImageConfig: a history that cannot be read keeps nobody from reading the image.
    private static IReadOnlyList<HistoryEntry>? TryParse(ReadOnlySpan<byte> config)
    {
        try
        {
            return [.. (GoJsonReader.Read(config, HistoryJson.Config.Read).Entries ?? []).Select(entry => entry.ToEntry())];
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private sealed class HistoryJson
    {
        public static GoStruct<HistoryJson> Config { get; } = new(("history", (ref json, to) => to.Entries = json.ReadList(EntryJson.Form.Read)));

        public List<EntryJson>? Entries { get; private set; }
    }

    private sealed class EntryJson
    {
        private string _created = "", _createdBy = "", _author = "", _comment = "";
        private bool _isEmpty;

        public static GoStruct<EntryJson> Form { get; } = new(
            ("created", (ref json, to) => to._created = json.ReadString()),
            ("created_by", (ref json, to) => to._createdBy = json.ReadString()),
            ("author", (ref json, to) => to._author = json.ReadString()),
            ("comment", (ref json, to) => to._comment = json.ReadString()),
            ("empty_layer", (ref json, to) => to._isEmpty = json.ReadBool()));

        public HistoryEntry ToEntry() => new() { Created = Rfc3339.TryParse(Encoding.UTF8.GetBytes(_created)), CreatedBy = _createdBy, Author = _author, Comment = _comment, IsEmpty = _isEmpty };
    }
}
