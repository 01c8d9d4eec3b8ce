using System.Globalization;
using System.Text;
using LazyMount.FileSystem;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Finding;

/// <summary>
/// find's <c>-ls</c>: lines as <c>ls -dils</c> writes them, with the image's own names of users and groups, times in UTC, and special
/// characters in paths behind backslashes. A column is as wide as its widest value so far.
/// </summary>
internal sealed class FindLs(DateTimeOffset now)
{
    private const long RecentSeconds = 6 * 30 * 24 * 60 * 60, SlopSeconds = 60 * 60;

    private int _inode = 9, _blocks = 6, _links = 3, _user = 8, _group = 8, _major = 3, _minor = 3, _size = 8;

    /// <summary>Writes the line of the name that a run has come to.</summary>
    public void Print(FindRun run)
    {
        NodeAttributes attributes = run.Attributes;
        var line = new StringBuilder();
        AppendRight(line, attributes.Inode, ref _inode);
        AppendRight(line, (ulong)(attributes.Blocks + 1) / 2, ref _blocks);
        line.Append(EntryFormat.ModeString(attributes.Mode)).Append(' ');
        AppendRight(line, attributes.LinkCount, ref _links);
        run.Output.Write(line.ToString());
        WriteLeft(run.Output, run.Users!.NameOf(attributes.Uid), attributes.Uid, ref _user);
        WriteLeft(run.Output, run.Groups!.NameOf(attributes.Gid), attributes.Gid, ref _group);
        line.Clear();
        if (EntryFormat.IsDevice(attributes.Mode))
        {
            AppendRight(line, attributes.DeviceMajor, ref _major);
            line.Insert(line.Length - 1, ',');
            AppendRight(line, attributes.DeviceMinor, ref _minor);
        }
        else
        {
            AppendRight(line, (ulong)attributes.Size, ref _size);
        }
        long seconds = attributes.MtimeSeconds, current = now.ToUnixTimeSeconds();
        bool isRecent = seconds >= current - RecentSeconds && seconds <= current + SlopSeconds;
        line.Append(EntryFormat.IsInCalendar(seconds)
            ? $"{CalendarFormat.Format('b', seconds, 0)} {CalendarFormat.Format('e', seconds, 0)} {(isRecent ? CalendarFormat.Format('R', seconds, 0) : " " + CalendarFormat.Format('Y', seconds, 0))}"
            : EntryFormat.ShortTime(seconds)).Append(' ');
        AppendEscaped(line, run.Path);
        if (FileMode.IsSymlink(attributes.Mode))
        {
            AppendEscaped(line.Append(" -> "), run.Tree.LinkTarget(run.Node));
        }
        run.Output.WriteLine(line.ToString());
    }

    private static void AppendRight(StringBuilder line, ulong number, ref int width)
    {
        string text = number.ToString(CultureInfo.InvariantCulture);
        width = Math.Max(width, text.Length);
        line.Append(text.PadLeft(width)).Append(' ');
    }

    private static void WriteLeft(CommandOutput output, ReadOnlySpan<byte> name, uint number, ref int width)
    {
        ReadOnlySpan<byte> text = name.IsEmpty ? Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture)) : name;
        int columns = CommandOutput.WidthOf(text);
        width = Math.Max(width, columns);
        output.WriteName(text);
        output.Write(new string(' ', width - columns + 1));
    }

    private static void AppendEscaped(StringBuilder line, ReadOnlySpan<byte> name)
    {
        foreach (byte b in name)
        {
            switch (b)
            {
                case (byte)'\n': line.Append("\\n"); break;
                case (byte)'\b': line.Append("\\b"); break;
                case (byte)'\r': line.Append("\\r"); break;
                case (byte)'\t': line.Append("\\t"); break;
                case (byte)'\f': line.Append("\\f"); break;
                case (byte)' ' or (byte)'"' or (byte)'\\': line.Append('\\').Append((char)b); break;
                case > (byte)' ' and < 0x7F: line.Append((char)b); break;
                default: line.Append('\\').Append(Convert.ToString(b, 8).PadLeft(3, '0')); break;
            }
        }
    }
}
