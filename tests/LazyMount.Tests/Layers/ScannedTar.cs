using System.Globalization;
using System.Text;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;
using Xunit;

namespace LazyMount.Tests.Layers;

/// <summary>A tar as the scanner sees it, its members in the form of <c>tar -tv --numeric-owner --full-time</c>.</summary>
internal static class ScannedTar
{
    public static List<string> List(byte[] tar, int pieceSize = int.MaxValue, IndexLimits? limits = null)
    {
        var lines = new List<string>();
        Scan(tar, member => lines.Add(Line(member)), pieceSize, limits);
        return lines;
    }

    public static void Scan(byte[] tar, Action<TarMember> use, int pieceSize = int.MaxValue, IndexLimits? limits = null)
    {
        var scanner = new TarScanner(limits ?? IndexLimits.Default);
        for (int at = 0; at < tar.Length;)
        {
            int length = Math.Min(pieceSize, tar.Length - at);
            // A copy of its own, so that a scanner that looks outside its piece fails.
            ReadOnlySpan<byte> piece = tar.AsSpan(at, length).ToArray();
            while (scanner.TryRead(ref piece))
            {
                use(scanner.Member);
            }
            Assert.True(piece.IsEmpty);
            at += length;
        }
        scanner.Complete();
    }

    /// <summary>The index of a tar: what the layers above get.</summary>
    public static LayerEntriesBuilder Collect(byte[] tar, IndexLimits? limits = null)
    {
        var entries = new LayerEntriesBuilder(new IndexBudget(limits ?? IndexLimits.Default));
        Scan(tar, member => entries.Add(member), limits: limits);
        return entries;
    }

    public static string PathOf(LayerPaths paths, int node)
        => node <= 0 ? "/" : $"{PathOf(paths, paths.Parent(node)).TrimEnd('/')}/{Encoding.Latin1.GetString(paths.Name(node))}";

    private static string Line(TarMember member)
    {
        if (member.SkipReason is not null)
        {
            return $"skipped {Encoding.UTF8.GetString(member.Path)}: {member.SkipReason}";
        }
        char type = member.Type switch
        {
            EntryType.Directory => 'd',
            EntryType.Symlink => 'l',
            EntryType.HardLink => 'h',
            EntryType.CharacterDevice => 'c',
            EntryType.BlockDevice => 'b',
            EntryType.Fifo => 'p',
            _ => '-',
        };
        string size = type is 'c' or 'b'
            ? $"{member.DeviceMajor},{member.DeviceMinor}"
            : member.Size.ToString(CultureInfo.InvariantCulture);
        DateTime time = DateTime.UnixEpoch.AddSeconds(member.MtimeSeconds);
        string fraction = member.MtimeNanoseconds == 0 ? ""
            : $".{member.MtimeNanoseconds:D9}".TrimEnd('0');
        string link = type switch
        {
            'l' => $" -> {Encoding.UTF8.GetString(member.Link)}",
            'h' => $" link to {Encoding.UTF8.GetString(member.Link)}",
            _ => "",
        };
        return string.Create(CultureInfo.InvariantCulture,
            $"{type}{Permissions(member.Mode)} {member.Uid}/{member.Gid} {size} {time:yyyy-MM-dd HH:mm:ss}{fraction} {Encoding.UTF8.GetString(member.Path)}{link}");
    }

    private static string Permissions(int mode)
    {
        char[] text = "rwxrwxrwx".ToCharArray();
        for (int i = 0; i < 9; i++)
        {
            text[i] = (mode & (1 << (8 - i))) != 0 ? text[i] : '-';
        }
        Special(mode & 0x800, 2, 's', 'S');
        Special(mode & 0x400, 5, 's', 'S');
        Special(mode & 0x200, 8, 't', 'T');
        return new string(text);

        void Special(int bit, int at, char withExecute, char without)
        {
            text[at] = bit == 0 ? text[at] : text[at] == 'x' ? withExecute : without;
        }
    }
}
