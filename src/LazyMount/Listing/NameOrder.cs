using LazyMount.FileSystem;
using LazyMount.Output;

namespace LazyMount.Listing;

/// <summary>What names are ordered by.</summary>
internal enum NameKey
{
    /// <summary>Their bytes.</summary>
    Name,

    /// <summary>Modification time, the newest first.</summary>
    Time,

    /// <summary>Size, the largest first.</summary>
    Size,
}

/// <summary>An order of names, as ls(1) has them: names that are equal by the key are ordered by their bytes.</summary>
/// <param name="Key">What names are ordered by.</param>
/// <param name="IsReversed">The last comes first.</param>
internal readonly record struct NameOrder(NameKey Key, bool IsReversed)
{
    /// <summary>The names of a directory as the tree gives them are in this order already.</summary>
    public bool IsOfTree => Key == NameKey.Name && !IsReversed;

    /// <summary>Orders names.</summary>
    public void Sort(List<NamedNode> names, ImageTree tree)
    {
        NameKey key = Key;
        int sign = IsReversed ? -1 : 1;
        if (key == NameKey.Name)
        {
            names.Sort((a, b) => sign * a.Name.Span.SequenceCompareTo(b.Name.Span));
            return;
        }
        var keyed = new ((long Major, long Minor) Key, NamedNode Name)[names.Count];
        for (int i = 0; i < keyed.Length; i++)
        {
            NodeAttributes attributes = tree.Attributes(names[i].Node);
            keyed[i] = (key == NameKey.Time ? (attributes.MtimeSeconds, attributes.MtimeNanoseconds) : (attributes.Size, 0), names[i]);
        }
        Array.Sort(keyed, (a, b) => sign * (b.Key.CompareTo(a.Key) is not 0 and int byKey ? byKey : a.Name.Name.Span.SequenceCompareTo(b.Name.Name.Span)));
        for (int i = 0; i < keyed.Length; i++)
        {
            names[i] = keyed[i].Name;
        }
    }
}
