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

    /// <param name="index">A sound image index (<see cref="ManifestDocument.Parse"/>).</param>
    public IndexText(ReadOnlyMemory<byte> index)
    {
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
        edit.Set(_places.Start, "manifests", _places.Manifests, $"[{string.Join(',', TextsOf(isKept).Append(added))}]");
        return edit.Apply();
    }

    /// <summary>An index of some of the entries and nothing else.</summary>
    public byte[] Only(Predicate<IndexEntry> isKept)
        => Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"mediaType":"{{MediaTypes.OciIndex}}","manifests":[{{string.Join(',', TextsOf(isKept))}}]}""");

    private IEnumerable<string> TextsOf(Predicate<IndexEntry> isKept)
        => _places.Entries.Where(each => isKept(each.Entry)).Select(each => Encoding.UTF8.GetString(_text.Span[each.Place]));

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
