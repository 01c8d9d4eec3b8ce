using System.Text;

namespace LazyMount.Blobs.Oci;

/// <summary>
/// The text of an image index that others may have written. Entries are added and removed; the other entries, and all that
/// this program does not know, stay byte for byte.
/// </summary>
internal sealed class IndexText
{
    private readonly ReadOnlyMemory<byte> _text;
    private readonly Places _places;

    /// <param name="index">A sound image index (<see cref="ManifestDocument.Parse"/>); null counts as one without entries, as in Go.</param>
    public IndexText(ReadOnlyMemory<byte> index)
    {
        if (index.Span.Trim(" \t\r\n"u8).SequenceEqual("null"u8))
            index = ArtifactManifest.EmptyIndex;
        _text = index;
        _places = GoJsonReader.Read(index.Span, Places.Read);
    }

    /// <summary>The entries, in their order.</summary>
    public IEnumerable<IndexEntry> Entries => _places.Entries.Select(each => each.Entry);

    /// <summary>The index without some of its entries and with one more at the end.</summary>
    /// <param name="isKept">Tells which entries stay.</param>
    /// <param name="added">The JSON of the new entry.</param>
    public byte[] With(Predicate<IndexEntry> isKept, string added)
    {
        var edit = new JsonEdit(_text);
        edit.Set(_places.Start, "manifests", _places.Manifests, Join("[", [.. TextsOf(isKept), Encoding.UTF8.GetBytes(added)], "]"));
        return edit.Apply();
    }

    /// <summary>An index of some of the entries and nothing else.</summary>
    public byte[] Only(Predicate<IndexEntry> isKept)
        => Join($$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciIndex}}","manifests":[""", [.. TextsOf(isKept)], "]}");

    private IEnumerable<byte[]> TextsOf(Predicate<IndexEntry> isKept)
        => _places.Entries.Where(each => isKept(each.Entry)).Select(each => _text.Span[each.Place].ToArray());

    // Bytes, not text: what others wrote need not be UTF-8.
    private static byte[] Join(string before, List<byte[]> entries, string after)
    {
        using var joined = new MemoryStream();
        joined.Write(Encoding.UTF8.GetBytes(before));
        for (int i = 0; i < entries.Count; i++)
        {
            joined.Write(i > 0 ? ","u8 : default);
            joined.Write(entries[i]);
        }
        joined.Write(Encoding.UTF8.GetBytes(after));
        return joined.ToArray();
    }

    /// <summary>Where the parts of the index stand in its text.</summary>
    private sealed class Places
    {
        private static readonly GoStruct<Places> s_form = new(("manifests", ReadManifests));

        public int Start { get; private set; }

        public Range? Manifests { get; private set; }

        public List<(Range Place, IndexEntry Entry)> Entries { get; private set; } = [];

        public static Places Read(ref GoJsonReader json)
        {
            int start = json.Start;
            Places places = s_form.Read(ref json);
            places.Start = start;
            return places;
        }

        private static void ReadManifests(ref GoJsonReader json, Places into)
        {
            int start = json.Start;
            into.Entries = json.ReadList(ReadEntry) ?? [];
            into.Manifests = start..json.End;
        }

        private static (Range Place, IndexEntry Entry) ReadEntry(ref GoJsonReader json)
        {
            int start = json.Start;
            var entry = new IndexEntry(DescriptorJson.Form.Read(ref json));
            return (start..json.End, entry);
        }
    }
}
