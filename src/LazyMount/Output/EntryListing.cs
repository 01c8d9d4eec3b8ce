using System.Text;
using System.Text.Json.Serialization;
using System.Text.Unicode;
using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Output;

/// <summary>
/// One entry of a tree as <c>--json</c> writes it, the same in every command. Names are bytes: one that is not UTF-8 has U+FFFD in it,
/// and its exact bytes stand beside it in base64.
/// </summary>
internal record EntryListing
{
    /// <summary>Path inside the image, from the root, without symbolic links before the last name.</summary>
    public string Path { get; set; } = "";

    /// <summary>The exact bytes of `path` in base64. Only if they are not UTF-8.</summary>
    public byte[]? PathBase64 { get; set; }

    /// <summary>Last name of `path`. Empty for the root.</summary>
    public string Name { get; set; } = "";

    /// <summary>The exact bytes of `name` in base64. Only if they are not UTF-8.</summary>
    public byte[]? NameBase64 { get; set; }

    /// <summary>`file`, `directory`, `symlink`, `character-device`, `block-device` or `fifo`.</summary>
    public string Type { get; set; } = "";

    /// <summary>Permission bits, four octal digits.</summary>
    public string Mode { get; set; } = "";

    /// <summary>Number of the owner.</summary>
    public uint Uid { get; set; }

    /// <summary>Number of the group.</summary>
    public uint Gid { get; set; }

    /// <summary>Content bytes of a file, holes included; length of the target of a symbolic link. In sums: of all files that were counted.</summary>
    public long Size { get; set; }

    /// <summary>Time of the last modification.</summary>
    public string Mtime { get; set; } = "";

    /// <summary>Number of hard links. Not in `log`.</summary>
    public uint? Links { get; set; }

    /// <summary>Number of the inode, as a mount shows it. Not in `log`.</summary>
    public ulong? Inode { get; set; }

    /// <summary>Target of a symbolic link. Only for symbolic links.</summary>
    public string? Target { get; set; }

    /// <summary>The exact bytes of `target` in base64. Only if they are not UTF-8.</summary>
    public byte[]? TargetBase64 { get; set; }

    /// <summary>Major number of a device. Only for devices.</summary>
    public uint? Major { get; set; }

    /// <summary>Minor number of a device. Only for devices.</summary>
    public uint? Minor { get; set; }

    /// <inheritdoc cref="LayerListing.Layer"/>
    public int? Layer { get; set; }

    /// <summary>The entry of a node of a tree.</summary>
    public static EntryListing Of(ImageTree tree, ulong node, ReadOnlySpan<byte> path)
    {
        var listing = new EntryListing();
        listing.Fill(tree, node, path);
        return listing;
    }

    /// <summary>Takes a node of a tree.</summary>
    protected void Fill(ImageTree tree, ulong node, ReadOnlySpan<byte> path)
    {
        NodeAttributes attributes = tree.Attributes(node);
        SetPath(path);
        SetMode(attributes.Mode, FileMode.IsSymlink(attributes.Mode) ? tree.LinkTarget(node) : default, (attributes.DeviceMajor, attributes.DeviceMinor));
        (Uid, Gid, Size) = (attributes.Uid, attributes.Gid, attributes.Size);
        Mtime = EntryFormat.FullTime(attributes.MtimeSeconds, attributes.MtimeNanoseconds);
        (Links, Inode) = (attributes.LinkCount, attributes.Inode);
        Layer = tree.LayerNumberOf(node) is >= 0 and int layer ? layer : null;
    }

    /// <summary>Takes what stood or stands at the path of an event.</summary>
    protected void Fill(PathEvent each)
    {
        PathNode node = each.Node;
        SetPath(each.Path);
        SetMode(node.Mode, node.LinkTarget.Span, node.Device);
        (Uid, Gid, Size) = (node.Uid, node.Gid, node.Size);
        Mtime = EntryFormat.FullTime(node.MtimeSeconds, node.MtimeNanoseconds);
        Layer = node.Layer >= 0 ? node.Layer : null;
    }

    /// <summary>Bytes of a name as text.</summary>
    public static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);

    /// <summary>The bytes themselves if they are not UTF-8, else null.</summary>
    public static byte[]? Exact(ReadOnlySpan<byte> bytes) => Utf8.IsValid(bytes) ? null : bytes.ToArray();

    private void SetPath(ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> name = path[(path.LastIndexOf((byte)'/') + 1)..];
        (Path, PathBase64, Name, NameBase64) = (Text(path), Exact(path), Text(name), Exact(name));
    }

    private void SetMode(uint mode, ReadOnlySpan<byte> target, (uint Major, uint Minor) device)
    {
        (Type, Mode) = (EntryFormat.TypeName(mode), EntryFormat.Octal(mode));
        if (FileMode.IsSymlink(mode))
        {
            (Target, TargetBase64) = (Text(target), Exact(target));
        }
        if (EntryFormat.IsDevice(mode))
        {
            (Major, Minor) = device;
        }
    }
}

/// <summary>An entry with the digest of the layer that has it.</summary>
internal record LayerEntryListing : EntryListing
{
    /// <inheritdoc cref="LayerListing.LayerDigest"/>
    [JsonPropertyOrder(1)]
    public string? LayerDigest { get; set; }

    /// <summary>The entry of a node of a tree.</summary>
    public static LayerEntryListing Of(ImageTree tree, ulong node, ReadOnlySpan<byte> path, Func<int, string> digestOf)
    {
        var listing = new LayerEntryListing();
        listing.Fill(tree, node, path, digestOf);
        return listing;
    }

    /// <summary>The entry that stood or stands at the path of an event.</summary>
    public static LayerEntryListing Of(PathEvent each, Func<int, string> digestOf)
    {
        var listing = new LayerEntryListing();
        listing.Fill(each);
        listing.LayerDigest = listing.Layer is int layer ? digestOf(layer) : null;
        return listing;
    }

    /// <summary>Takes a node of a tree.</summary>
    public void Fill(ImageTree tree, ulong node, ReadOnlySpan<byte> path, Func<int, string> digestOf)
    {
        Fill(tree, node, path);
        LayerDigest = Layer is int layer ? digestOf(layer) : null;
    }
}

/// <summary>One line of `stat --json`.</summary>
internal sealed record StatListing : LayerEntryListing
{
    /// <inheritdoc cref="LayerListing.Proof"/>
    [JsonPropertyOrder(2)]
    public string? Proof { get; set; }

    /// <summary>Extended attributes.</summary>
    [JsonPropertyOrder(2)]
    public required IReadOnlyList<XattrListing> Xattrs { get; init; }
}

/// <summary>One extended attribute.</summary>
internal sealed record XattrListing
{
    /// <summary>Name of an extended attribute, with its prefix: `security.capability`.</summary>
    public required string Key { get; init; }

    /// <summary>The exact bytes of `key` in base64. Only if they are not UTF-8.</summary>
    public byte[]? KeyBase64 { get; init; }

    /// <summary>Value of an extended attribute in base64.</summary>
    public required byte[] ValueBase64 { get; init; }
}

/// <summary>The document of `tree --json`: an entry with those below it. Written piece by piece, because trees are deep and large.</summary>
internal sealed record TreeListing : EntryListing
{
    /// <summary>Entries of a directory. Only for directories above the last level that was asked for.</summary>
    [JsonPropertyOrder(1)]
    public IReadOnlyList<TreeListing>? Children { get; init; }
}

/// <summary>One line of `du --json`.</summary>
internal sealed record UsageListing
{
    /// <inheritdoc cref="EntryListing.Path"/>
    public string? Path { get; init; }

    /// <inheritdoc cref="EntryListing.PathBase64"/>
    public byte[]? PathBase64 { get; init; }

    /// <inheritdoc cref="EntryListing.Type"/>
    public string? Type { get; init; }

    /// <summary>Bytes of the blocks that an entry and all below it take, or with `--apparent-size` and `--bytes` of their contents. The line of `--total` has nothing else.</summary>
    public required long Usage { get; init; }
}

/// <summary>What happened to a path.</summary>
internal abstract record ChangeListing
{
    /// <summary>`added`, `deleted`, `changed`; in `diff` also `renamed`; in `log` also `linked` (a new hard link) and `hidden` (by what the layer did to a directory or link on the way).</summary>
    public required string Action { get; init; }

    /// <inheritdoc cref="EntryListing.Path"/>
    public required string Path { get; init; }

    /// <inheritdoc cref="EntryListing.PathBase64"/>
    public byte[]? PathBase64 { get; init; }

    /// <summary>What differs, of `type`, `mode`, `owner`, `size`, `content`, `rewritten` (stored again with the same content), `time`, `target`, `device` and `xattrs`.</summary>
    public required IReadOnlyList<string> Changes { get; init; }

    /// <summary>The entry before. Not for what was added; in `log` only for what is gone.</summary>
    public LayerEntryListing? Before { get; init; }

    /// <summary>The entry after. Only if there is one.</summary>
    public LayerEntryListing? After { get; init; }
}

/// <summary>One line of `diff --json`.</summary>
internal sealed record DifferenceListing : ChangeListing
{
    /// <summary>Path that a renamed entry had before. Only for renamed entries.</summary>
    [JsonPropertyOrder(1)]
    public string? From { get; init; }

    /// <summary>The exact bytes of `from` in base64. Only if they are not UTF-8.</summary>
    [JsonPropertyOrder(1)]
    public byte[]? FromBase64 { get; init; }
}

/// <summary>One line of `log --json`.</summary>
internal sealed record EventListing : ChangeListing
{
    /// <inheritdoc cref="LayerListing.Layer"/>
    public required int Layer { get; init; }

    /// <inheritdoc cref="LayerListing.LayerDigest"/>
    public required string LayerDigest { get; init; }

    /// <summary>Path whose change had an effect on this path: a directory or link on the way, or the other name of a hard link. Only if there is one.</summary>
    [JsonPropertyOrder(1)]
    public string? By { get; init; }

    /// <summary>The exact bytes of `by` in base64. Only if they are not UTF-8.</summary>
    [JsonPropertyOrder(1)]
    public byte[]? ByBase64 { get; init; }

    /// <summary>What happened to `by`: `deleted`, `opaque` (a directory hides what lower layers have in it) or `replaced`. Only if that is the cause.</summary>
    [JsonPropertyOrder(1)]
    public string? How { get; init; }

    /// <summary>What the layer did below a directory. Only for directories.</summary>
    [JsonPropertyOrder(1)]
    public ChangeSumsListing? Below { get; init; }
}

/// <summary>How many names were added, deleted and so on.</summary>
internal record ChangeSumsListing
{
    /// <summary>Sum of the names that were added.</summary>
    public required NameSumListing Added { get; init; }

    /// <summary>Sum of the names that were deleted. Sizes are those of before.</summary>
    public required NameSumListing Deleted { get; init; }

    /// <summary>Sum of the names that were changed.</summary>
    public required NameSumListing Changed { get; init; }

    /// <summary>Sum of the names that were renamed. Not in `log`.</summary>
    public NameSumListing? Renamed { get; init; }
}

/// <summary>One sum of a <see cref="ChangeSumsListing"/>.</summary>
internal sealed record NameSumListing
{
    /// <summary>Number of names.</summary>
    public required long Names { get; init; }

    /// <inheritdoc cref="EntryListing.Size"/>
    public required long Size { get; init; }
}

/// <summary>The document of `diff --stat --json`.</summary>
internal sealed record DifferenceSumsListing
{
    /// <summary>Sums of each directory directly below the root in which something differs.</summary>
    public required IReadOnlyList<DirectorySumsListing> Directories { get; init; }

    /// <summary>Sums of the whole image.</summary>
    public required ChangeSumsListing Total { get; init; }
}

/// <summary>One directory of a <see cref="DifferenceSumsListing"/>.</summary>
internal sealed record DirectorySumsListing : ChangeSumsListing
{
    /// <inheritdoc cref="EntryListing.Path"/>
    public required string Path { get; init; }

    /// <inheritdoc cref="EntryListing.PathBase64"/>
    public byte[]? PathBase64 { get; init; }
}

/// <summary>One line of `tags --json`.</summary>
internal sealed record TagListing
{
    /// <summary>A tag, or the name of an image in a layout or archive.</summary>
    public required string Tag { get; init; }
}
