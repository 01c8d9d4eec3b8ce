using System.Globalization;
using System.Text;

namespace LazyMount.TestKit;

/// <summary>
/// A tree as text, one path a line, for expectations written by hand:
/// <code>
/// drwxr-xr-x 0:0 /
/// -rw-r--r-- 0:0 a/file "content" @1600000000.5 user.colour="blue"
/// -rw-r--r-- 0:0 a/other = a/file
/// lrwxrwxrwx 0:0 link -> a/file
/// crw-r--r-- 0:0 null 1,3
/// </code>
/// A time is told when it is not that of <see cref="TarBytes"/>; "@-" when no entry told one. A content longer than 48
/// bytes is "size N sha256:HEX". "= NAME" is another name of that file, whose line ends in the number of names it has
/// ("nlink 3"). Bytes that are not printable ASCII are \xNN.
/// </summary>
public static class TreeText
{
    private const string UsualMtime = "1577836800.000000000";

    public static string Of(TreeSnapshot tree) => string.Join('\n', Lines(tree));

    public static IEnumerable<string> Lines(TreeSnapshot tree) => tree.Nodes.Select(node => Line(node.Key, node.Value));

    /// <summary>
    /// Which lines only <paramref name="expected"/> has ("- …") and which only <paramref name="actual"/> ("+ …"). A time
    /// that a directory has only from being unpacked just now agrees with every other: no layer says anything about it.
    /// </summary>
    /// <param name="expected">The one tree.</param>
    /// <param name="actual">The other.</param>
    /// <param name="simplify">Takes from a line what is not to be compared.</param>
    public static string Difference(string expected, TreeSnapshot actual, Func<string, string>? simplify = null)
    {
        string[] left = expected.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var right = new List<string>();
        foreach ((string path, TreeNode node) in actual.Nodes)
        {
            string line = simplify is null ? Line(path, node) : simplify(Line(path, node)), unpacked = " @" + TimeOf(node);
            int at = line.IndexOf(unpacked, StringComparison.Ordinal);
            bool isUnpackedNow = node.Type == 'd' && at >= 0
                && DateTimeOffset.UtcNow.ToUnixTimeSeconds() - long.Parse(node.Mtime.Split('.')[0], CultureInfo.InvariantCulture) is >= -5 and < 3600;
            if (isUnpackedNow)
            {
                string timeless = line.Remove(at, unpacked.Length);
                line = left.FirstOrDefault(each => WithoutTime(each) == timeless) ?? timeless + " @now";
            }
            right.Add(line);
        }
        return string.Join('\n', [.. left.Except(right).Select(line => "- " + line), .. right.Except(left).Select(line => "+ " + line)]);
    }

    /// <summary>Bytes in quotes, all but printable ASCII as \xNN.</summary>
    public static string Quote(ReadOnlySpan<byte> bytes) => $"\"{Escape(bytes).Replace("\"", "\\x22", StringComparison.Ordinal)}\"";

    /// <summary>One path's line.</summary>
    public static string Line(string path, TreeNode node)
    {
        var line = new StringBuilder().Append(node.Type).Append(Permissions(node.Mode))
            .Append(CultureInfo.InvariantCulture, $" {node.Uid}:{node.Gid} ").Append(Name(path));
        if (node.FirstName != path)
        {
            return line.Append(" = ").Append(Name(node.FirstName)).ToString();
        }
        line.Append(node.Type switch
        {
            '-' => node.Content.StartsWith('"') && node.Size <= 48 ? " " + node.Content : $" size {node.Size} {node.Content}",
            'l' => " -> " + Escape(Encoding.Latin1.GetBytes(node.LinkTarget)),
            'c' or 'b' => " " + node.Device.Replace(':', ','),
            _ => "",
        });
        if (node.Mtime != UsualMtime)
        {
            line.Append(" @").Append(TimeOf(node));
        }
        foreach (string xattr in node.Xattrs.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = xattr.IndexOf('=', StringComparison.Ordinal);
            line.Append(' ').Append(Escape(Encoding.Latin1.GetBytes(xattr[..equals]))).Append('=').Append(Quote(Convert.FromHexString(xattr[(equals + 1)..])));
        }
        if (node.LinkCount > 1)
        {
            line.Append(CultureInfo.InvariantCulture, $" nlink {node.LinkCount}");
        }
        return line.ToString();
    }

    private static string TimeOf(TreeNode node) => node.Mtime == "0.000000000" ? "-" : node.Mtime.TrimEnd('0').TrimEnd('.');

    private static string WithoutTime(string line) => string.Join(' ', line.Split(' ').Where(word => !word.StartsWith('@')));

    private static string Name(string path) => path == "/" ? path : Escape(Encoding.Latin1.GetBytes(path[1..]));

    private static string Permissions(uint mode)
    {
        char[] text = new char[9];
        for (int bit = 0; bit < 9; bit++)
        {
            text[bit] = (mode & (0x100 >> bit)) != 0 ? "rwx"[bit % 3] : '-';
        }
        foreach ((int special, int at, char letter) in ((int, int, char)[])[(0x800, 2, 's'), (0x400, 5, 's'), (0x200, 8, 't')])
        {
            if ((mode & special) != 0)
            {
                text[at] = text[at] == 'x' ? letter : char.ToUpperInvariant(letter);
            }
        }
        return new string(text);
    }

    private static string Escape(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        foreach (byte value in bytes)
        {
            _ = value is >= (byte)' ' and < 0x7F and not (byte)'\\' ? text.Append((char)value) : text.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}");
        }
        return text.ToString();
    }
}
