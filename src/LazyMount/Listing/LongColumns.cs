using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;

namespace LazyMount.Listing;

/// <summary>The columns of <c>ls -ln --time-style=long-iso</c>, each as wide as its widest value. Times are in UTC.</summary>
internal sealed class LongColumns
{
    private int _inode, _links, _uid, _gid, _major, _minor, _size;
    private bool _hasAccessLists; // then there is a column for the mark

    private LongColumns()
    {
    }

    /// <summary>Looks at all names that will be written.</summary>
    public static LongColumns Measure(ImageTree tree, IEnumerable<NamedNode> names, ListingStyle style)
    {
        var columns = new LongColumns();
        foreach (NamedNode name in names)
        {
            NodeAttributes attributes = tree.Attributes(name.Node);
            columns._hasAccessLists = columns._hasAccessLists || EntryFormat.HasAccessList(tree, name.Node, attributes.Mode);
            Widen(ref columns._inode, EntryFormat.Digits(attributes.Inode));
            Widen(ref columns._links, EntryFormat.Digits(attributes.LinkCount));
            Widen(ref columns._uid, EntryFormat.Digits(attributes.Uid));
            Widen(ref columns._gid, EntryFormat.Digits(attributes.Gid));
            if (EntryFormat.IsDevice(attributes.Mode))
            {
                Widen(ref columns._major, EntryFormat.Digits(attributes.DeviceMajor));
                Widen(ref columns._minor, EntryFormat.Digits(attributes.DeviceMinor));
                Widen(ref columns._size, columns._major + 2 + columns._minor);
            }
            else
            {
                Widen(ref columns._size, Size(attributes, style).Length);
            }
        }
        return columns;
    }

    /// <summary>Writes the line of a name.</summary>
    public void Write(CommandOutput output, ImageTree tree, in NamedNode name, ListingStyle style)
    {
        NodeAttributes attributes = tree.Attributes(name.Node);
        string size = EntryFormat.IsDevice(attributes.Mode)
            ? $"{EntryFormat.Number(attributes.DeviceMajor)}, {EntryFormat.Number(attributes.DeviceMinor).PadLeft(_minor)}"
            : Size(attributes, style);
        string inode = style.ShowsInodes ? EntryFormat.Number(attributes.Inode).PadLeft(_inode) + " " : "";
        string mark = !_hasAccessLists ? "" : EntryFormat.HasAccessList(tree, name.Node, attributes.Mode) ? "+" : " ";
        output.Write($"{inode}{EntryFormat.ModeString(attributes.Mode)}{mark} {EntryFormat.Number(attributes.LinkCount).PadLeft(_links)} "
            + $"{EntryFormat.Number(attributes.Uid).PadLeft(_uid)} {EntryFormat.Number(attributes.Gid).PadLeft(_gid)} {size.PadLeft(_size)} "
            + $"{EntryFormat.ShortTime(attributes.MtimeSeconds)} ");
        EntryFormat.WriteNameAndTarget(output, tree, name, style.Colors);
    }

    private static string Size(in NodeAttributes attributes, ListingStyle style)
        => style.HasHumanSizes ? ByteSize.FormatShort(attributes.Size) : EntryFormat.Number((ulong)attributes.Size);

    private static void Widen(ref int width, int to) => width = Math.Max(width, to);
}
