using System.Globalization;
using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Output;

/// <summary>One name in a tree and the node it names.</summary>
/// <param name="Name">As to be shown: the last component, or a path.</param>
/// <param name="Path">Absolute and clean.</param>
/// <param name="Node">The node.</param>
internal readonly record struct NamedNode(ReadOnlyMemory<byte> Name, ReadOnlyMemory<byte> Path, ulong Node);

/// <summary>How attributes are spelled for people: as ls(1) spells them.</summary>
internal static class EntryFormat
{
    public static bool IsDevice(uint mode) => (mode & FileMode.TypeMask) is FileMode.CharacterDevice or FileMode.BlockDevice;

    /// <summary>The word for a node's type, in text and JSON alike.</summary>
    public static string TypeName(uint mode) => (mode & FileMode.TypeMask) switch
    {
        FileMode.Regular => "file",
        FileMode.Directory => "directory",
        FileMode.Symlink => "symlink",
        FileMode.CharacterDevice => "character-device",
        FileMode.BlockDevice => "block-device",
        FileMode.Fifo => "fifo",
        _ => "unknown",
    };

    /// <summary>Such as <c>drwxr-xr-x</c>.</summary>
    public static string ModeString(uint mode)
        => string.Create(10, mode, static (text, mode) =>
        {
            text[0] = (mode & FileMode.TypeMask) switch
            {
                FileMode.Regular => '-',
                FileMode.Directory => 'd',
                FileMode.Symlink => 'l',
                FileMode.CharacterDevice => 'c',
                FileMode.BlockDevice => 'b',
                FileMode.Fifo => 'p',
                _ => '?',
            };
            for (int i = 0; i < 9; i++)
            {
                text[1 + i] = (mode & (0x100u >> i)) != 0 ? "rwx"[i % 3] : '-';
            }
            text[3] = Special(mode, 0x800, text[3], 's');
            text[6] = Special(mode, 0x400, text[6], 's');
            text[9] = Special(mode, 0x200, text[9], 't');
        });

    private static char Special(uint mode, uint bit, char execute, char letter)
        => (mode & bit) == 0 ? execute : execute == 'x' ? letter : char.ToUpperInvariant(letter);

    /// <summary>
    /// Whether <c>ls -l</c> marks a node with "+": it has an access list or a default one. As ls(1) on a mount, that takes a list of the three
    /// entries of the permission bits for one, though a disk would not keep it.
    /// </summary>
    public static bool HasAccessList(ImageTree tree, ulong node, uint mode)
    {
        const int Least = 4 + (3 * 8); // a head, and three entries
        return tree.HasAccessLists && !FileMode.IsSymlink(mode)
            && (tree.ReadXattr(node, "system.posix_acl_access"u8, default) >= Least || tree.ReadXattr(node, "system.posix_acl_default"u8, default) >= Least);
    }

    /// <summary>Permission bits as four octal digits.</summary>
    public static string Octal(uint mode) => Convert.ToString(mode & 0xFFF, 8).PadLeft(4, '0');

    /// <summary>As <c>ls --time-style=long-iso</c> in UTC; a time no calendar holds as <c>@seconds</c>.</summary>
    public static string ShortTime(long seconds)
        => IsInCalendar(seconds) ? DateTimeOffset.FromUnixTimeSeconds(seconds).ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) : Seconds(seconds);

    /// <summary>RFC 3339 in UTC with all nanoseconds that are not zero; a time no calendar holds as <c>@seconds</c>.</summary>
    public static string FullTime(long seconds, uint nanoseconds)
    {
        if (!IsInCalendar(seconds))
        {
            return Seconds(seconds);
        }
        string fraction = nanoseconds == 0 ? "" : "." + nanoseconds.ToString("D9", CultureInfo.InvariantCulture).TrimEnd('0');
        return DateTimeOffset.FromUnixTimeSeconds(seconds).ToString("yyyy-MM-ddTHH:mm:ss", CultureInfo.InvariantCulture) + fraction + "Z";
    }

    /// <summary>Whether a time has a year from 1 to 9999.</summary>
    internal static bool IsInCalendar(long seconds) => seconds is >= -62_135_596_800 and <= 253_402_300_799;

    private static string Seconds(long seconds) => "@" + seconds.ToString(CultureInfo.InvariantCulture);

    /// <summary>The column before the date: bytes, or a device's numbers.</summary>
    public static string SizeColumn(in NodeAttributes attributes)
        => IsDevice(attributes.Mode) ? $"{attributes.DeviceMajor}, {attributes.DeviceMinor}" : attributes.Size.ToString(CultureInfo.InvariantCulture);

    /// <summary>The name, and for a symlink where it points.</summary>
    public static void WriteNameAndTarget(CommandOutput output, ImageTree tree, NamedNode entry, LsColors? colors = null)
    {
        bool isLink = FileMode.IsSymlink(tree.Mode(entry.Node));
        if (colors is not null)
        {
            colors.WriteName(output, tree, entry);
        }
        else
        {
            output.WriteName(entry.Name.Span);
        }
        if (isLink)
        {
            output.Write(" -> "u8);
        }
        if (isLink && colors is not null)
        {
            colors.WriteTarget(output, tree, entry);
        }
        else if (isLink)
        {
            output.WriteName(tree.LinkTarget(entry.Node));
        }
        output.WriteLine();
    }

    /// <summary>A number in decimal digits.</summary>
    public static string Number(ulong number) => number.ToString(CultureInfo.InvariantCulture);

    /// <summary>How many decimal digits a number has.</summary>
    public static int Digits(ulong number)
    {
        int digits = 1;
        for (; number >= 10; number /= 10)
        {
            digits++;
        }
        return digits;
    }
}
