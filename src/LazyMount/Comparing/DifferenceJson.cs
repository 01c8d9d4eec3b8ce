using System.Text.Json;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Comparing;

/// <summary>
/// Differences as JSON Lines, in the entry form of <see cref="EntryJson"/>:
/// <code>{"status":"renamed","path":"/new","from":"/old","changes":["mode"],"before":{entry},"after":{entry}}</code>
/// </summary>
/// <param name="output">Where to.</param>
/// <param name="before">The first image.</param>
/// <param name="after">The second image.</param>
internal sealed class DifferenceJson(CommandOutput output, OpenedTree before, OpenedTree after) : IDisposable
{
    private readonly JsonLines _lines = new(output);

    public void Write(Difference difference)
    {
        Utf8JsonWriter json = _lines.Begin();
        json.WriteString("status", StatusOf(difference.Kind));
        EntryJson.WriteBytes(json, "path", "pathBase64", (difference.After ?? difference.Before)!.Value.Path);
        if (difference is { Kind: DifferenceKind.Renamed, Before: { } old })
        {
            EntryJson.WriteBytes(json, "from", "fromBase64", old.Path);
        }
        json.WriteStartArray("changes");
        foreach ((_, string name) in NodeComparison.Names.Where(each => (difference.Changes & each.Change) != 0))
        {
            json.WriteStringValue(name);
        }
        json.WriteEndArray();
        WriteEntry(json, "before", before, difference.Before);
        WriteEntry(json, "after", after, difference.After);
        _lines.End();
    }

    public void Dispose() => _lines.Dispose();

    private static string StatusOf(DifferenceKind kind) => kind switch
    {
        DifferenceKind.Added => "added",
        DifferenceKind.Deleted => "deleted",
        DifferenceKind.Changed => "changed",
        _ => "renamed",
    };

    private static void WriteEntry(Utf8JsonWriter json, string property, OpenedTree side, ComparedEntry? entry)
    {
        if (entry is not { } it)
        {
            return;
        }
        json.WriteStartObject(property);
        EntryJson.WriteProperties(json, side.Tree, it.Node, it.Path);
        if (side.Tree.LayerNumberOf(it.Node) is >= 0 and int layer)
        {
            json.WriteString("layerDigest", side.Image.Image.Layers[layer].Digest.ToString());
        }
        json.WriteEndObject();
    }
}
