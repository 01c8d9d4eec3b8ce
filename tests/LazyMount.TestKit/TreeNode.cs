using System.Globalization;

namespace LazyMount.TestKit;

/// <summary>All that can be seen of one path. Strings are bytes read as Latin-1, so that every name is told apart.</summary>
public sealed record TreeNode
{
    public required uint Mode { get; init; }
    public required uint Uid { get; init; }
    public required uint Gid { get; init; }

    /// <summary>Of files and symlinks; what a directory's size means is the file system's own affair.</summary>
    public required ulong Size { get; init; }
    public required string Mtime { get; init; }
    public required string Device { get; init; }
    public required string LinkTarget { get; init; }

    /// <summary>A file's content in quotes when it is short, else its SHA-256; or the error that reading it gave.</summary>
    public required string Content { get; init; }

    /// <summary>The first path of the hard-link group; its own when it has no other name.</summary>
    public required string FirstName { get; init; }
    public required uint LinkCount { get; init; }
    public required string Xattrs { get; init; }

    public char Type => (Mode & 0xF000) switch
    {
        0x1000 => 'p',
        0x2000 => 'c',
        0x4000 => 'd',
        0x6000 => 'b',
        0x8000 => '-',
        0xA000 => 'l',
        _ => '?',
    };

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Type}{Convert.ToString(Mode & 0xFFF, 8)} {Uid}:{Gid} size {Size} mtime {Mtime} nlink {LinkCount} rdev {Device} -> '{LinkTarget}' content {Content} linked to {FirstName} xattrs [{Xattrs}]");
}
