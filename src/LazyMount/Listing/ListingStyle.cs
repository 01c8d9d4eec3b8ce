using LazyMount.Output;

namespace LazyMount.Listing;

/// <summary>How ls lists. The default is a name a line, in the order of the tree, without names that begin with a dot.</summary>
internal readonly record struct ListingStyle
{
    /// <summary>Attributes as well, as <c>ls -ln</c>.</summary>
    public bool IsLong { get; init; }

    /// <summary>Names that begin with a dot too.</summary>
    public bool ShowsHidden { get; init; }

    /// <summary>"." and ".." too.</summary>
    public bool ShowsDots { get; init; }

    /// <summary>Directories themselves, not what is in them.</summary>
    public bool ListsDirectories { get; init; }

    /// <summary>Directories below too.</summary>
    public bool IsRecursive { get; init; }

    /// <summary>Inode numbers.</summary>
    public bool ShowsInodes { get; init; }

    /// <summary>Sizes such as 1.5M.</summary>
    public bool HasHumanSizes { get; init; }

    /// <summary>The order of names.</summary>
    public NameOrder Order { get; init; }

    /// <summary>Columns of the terminal that names are written side by side in; 0: one name a line.</summary>
    public int Width { get; init; }

    /// <summary>Colours of names, if any.</summary>
    public LsColors? Colors { get; init; }

    /// <summary>
    /// Whether a name of a directory is shown. Whiteouts, which one layer alone has, are what it is looked at for, so they are.
    /// </summary>
    public bool Shows(ReadOnlySpan<byte> name) => ShowsHidden || name is not [(byte)'.', ..] || name.StartsWith(".wh."u8);
}
