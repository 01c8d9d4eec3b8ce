using System.Globalization;
using System.Text;
using LazyMount.FileSystem;
using LazyMount.Output;

namespace LazyMount.Finding;

/// <summary>A format of find's <c>-printf</c>: text, escapes, and directives with the flags, width and precision of printf(3). Immutable.</summary>
internal sealed class PrintFormat
{
    /// <summary>A directive, or text that is written as it is.</summary>
    /// <param name="Text">The text; empty for a directive.</param>
    /// <param name="Directive">The letter behind the percent sign.</param>
    /// <param name="Part">The letter behind <c>%T</c>, <c>%A</c> or <c>%C</c>.</param>
    /// <param name="Flags">Some of <c>-+ #0</c>.</param>
    /// <param name="Width">The least number of bytes.</param>
    /// <param name="Precision">The largest number of bytes, or of digits the least; -1 when there is none.</param>
    private sealed record Segment(byte[] Text, char Directive = '\0', char Part = '\0', string Flags = "", int Width = 0, int Precision = -1);

    private const string Directives = "%abcCAdfgGhHiklmMnpPsStTuUyY";
    private const int MaxWidth = 4096;

    private readonly List<Segment> _segments = [];
    private bool _flushes;

    private PrintFormat()
    {
    }

    /// <summary>The format has names of users in it.</summary>
    public bool NeedsUsers => _segments.Exists(static segment => segment.Directive == 'u');

    /// <summary>The format has names of groups in it.</summary>
    public bool NeedsGroups => _segments.Exists(static segment => segment.Directive == 'g');

    /// <summary>Parses a format.</summary>
    /// <exception cref="FormatException">It is none. The message is a clause.</exception>
    public static PrintFormat Parse(ReadOnlySpan<byte> format)
    {
        var parsed = new PrintFormat();
        List<byte> text = [];
        for (int at = 0; at < format.Length;)
        {
            byte b = format[at++];
            if (b == '\\')
            {
                if (!TryTakeEscape(format, ref at, out byte escaped))
                {
                    parsed._flushes = true; // \c: nothing of what follows is written
                    break;
                }
                text.Add(escaped);
            }
            else if (b == '%')
            {
                Segment segment = TakeDirective(format, ref at);
                if (segment.Directive == '%')
                {
                    text.Add((byte)'%');
                    continue;
                }
                parsed.AddText(text);
                parsed._segments.Add(segment);
            }
            else
            {
                text.Add(b);
            }
        }
        parsed.AddText(text);
        return parsed;
    }

    /// <summary>Writes the name that a run has come to.</summary>
    public void Print(FindRun run)
    {
        foreach (Segment segment in _segments)
        {
            if (segment.Text.Length > 0)
            {
                run.Output.Write(segment.Text);
            }
            else
            {
                Write(run, segment);
            }
        }
        if (_flushes)
        {
            run.Output.Flush();
        }
    }

    private void AddText(List<byte> text)
    {
        if (text.Count > 0)
        {
            _segments.Add(new Segment([.. text]));
            text.Clear();
        }
    }

    // False for \c.
    private static bool TryTakeEscape(ReadOnlySpan<byte> format, ref int at, out byte escaped)
    {
        if (at == format.Length)
        {
            throw new FormatException("it ends with a backslash");
        }
        byte b = format[at++];
        if (b is >= (byte)'0' and <= (byte)'7')
        {
            int value = b - '0';
            for (int digits = 1; digits < 3 && at < format.Length && format[at] is >= (byte)'0' and <= (byte)'7'; digits++)
            {
                value = (value * 8) + format[at++] - '0';
            }
            escaped = (byte)value;
            return true;
        }
        escaped = (char)b switch
        {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' => (byte)'\\',
            'c' => 0,
            _ => throw new FormatException($"unknown escape '\\{(char)b}'"),
        };
        return b != 'c';
    }

    private static Segment TakeDirective(ReadOnlySpan<byte> format, ref int at)
    {
        int start = at;
        while (at < format.Length && "-+ #0"u8.Contains(format[at]))
        {
            at++;
        }
        string flags = Encoding.ASCII.GetString(format[start..at]);
        int width = TakeNumber(format, ref at), precision = -1;
        if (at < format.Length && format[at] == '.')
        {
            at++;
            precision = TakeNumber(format, ref at);
        }
        if (at == format.Length)
        {
            throw new FormatException("a % has no letter behind it");
        }
        char directive = (char)format[at++], part = '\0';
        if (directive is 'D' or 'F' or 'Z')
        {
            throw new FormatException($"%{directive} has no value in an image");
        }
        if (directive == 'B')
        {
            throw new FormatException("an image does not say when a file was made");
        }
        if (!Directives.Contains(directive, StringComparison.Ordinal))
        {
            throw new FormatException($"unknown directive '%{directive}'");
        }
        if (directive is 'T' or 'A' or 'C')
        {
            part = at < format.Length ? (char)format[at++] : '\0';
            if (!CalendarFormat.IsDirective(part))
            {
                throw new FormatException(part == '\0' ? $"%{directive} has no letter behind it" : $"unknown part of a time '%{directive}{part}'");
            }
        }
        return new Segment([], directive, part, flags, width, precision);
    }

    private static int TakeNumber(ReadOnlySpan<byte> format, ref int at)
    {
        int number = 0;
        for (; at < format.Length && char.IsAsciiDigit((char)format[at]); at++)
        {
            number = (number * 10) + format[at] - '0';
            if (number > MaxWidth)
            {
                throw new FormatException($"a width or precision is larger than {MaxWidth}");
            }
        }
        return number;
    }

    private static void Write(FindRun run, Segment segment)
    {
        NodeAttributes attributes = run.Attributes;
        switch (segment.Directive)
        {
            case 'p':
                WriteText(run.Output, segment, run.Path);
                break;
            case 'P':
                WriteText(run.Output, segment, run.Path[run.Start.Length..].TrimStart((byte)'/'));
                break;
            case 'H':
                WriteText(run.Output, segment, run.Start);
                break;
            case 'f':
                WriteText(run.Output, segment, LastNameOf(run.Path));
                break;
            case 'h':
                WriteText(run.Output, segment, DirectoryOf(run.Path));
                break;
            case 'l':
                WriteText(run.Output, segment, run.Tree.LinkTarget(run.Node));
                break;
            case 'u':
                WriteName(run.Output, segment, run.Users!.NameOf(attributes.Uid), attributes.Uid);
                break;
            case 'g':
                WriteName(run.Output, segment, run.Groups!.NameOf(attributes.Gid), attributes.Gid);
                break;
            case 'd':
                WriteNumber(run.Output, segment, run.Depth.ToString(CultureInfo.InvariantCulture), isSigned: true);
                break;
            case 'm':
                string octal = Convert.ToString(PermissionText.Of(attributes.Mode), 8);
                WriteNumber(run.Output, segment, segment.Flags.Contains('#', StringComparison.Ordinal) && octal != "0" ? "0" + octal : octal, isSigned: false);
                break;
            default:
                WriteText(run.Output, segment, Encoding.UTF8.GetBytes(TextOf(run, segment, attributes)));
                break;
        }
    }

    private static string TextOf(FindRun run, Segment segment, in NodeAttributes attributes) => segment.Directive switch
    {
        'a' or 'c' or 't' => CalendarFormat.FormatAll(attributes.MtimeSeconds, attributes.MtimeNanoseconds),
        'A' or 'C' or 'T' => CalendarFormat.Format(segment.Part, attributes.MtimeSeconds, attributes.MtimeNanoseconds),
        'b' => attributes.Blocks.ToString(CultureInfo.InvariantCulture),
        'k' => ((attributes.Blocks + 1) / 2).ToString(CultureInfo.InvariantCulture),
        's' => attributes.Size.ToString(CultureInfo.InvariantCulture),
        'S' => Sparseness(attributes),
        'i' => attributes.Inode.ToString(CultureInfo.InvariantCulture),
        'n' => attributes.LinkCount.ToString(CultureInfo.InvariantCulture),
        'U' => attributes.Uid.ToString(CultureInfo.InvariantCulture),
        'G' => attributes.Gid.ToString(CultureInfo.InvariantCulture),
        'M' => EntryFormat.ModeString(attributes.Mode),
        'y' => FindActions.TypeLetter(attributes.Mode).ToString(),
        'Y' => run.Target(out Errno errno) is { } target ? FindActions.TypeLetter(run.Tree.Mode(target)).ToString()
            : errno == Errno.ELOOP ? "L" : errno is Errno.ENOENT or Errno.ENOTDIR ? "N" : "?",
        _ => throw new InvalidOperationException($"%{segment.Directive} is not written"),
    };

    // How much of a file is stored, as %g of printf(3) writes it.
    private static string Sparseness(in NodeAttributes attributes)
    {
        if (attributes.Size == 0)
        {
            return attributes.Blocks == 0 ? "1" : "inf";
        }
        return (512.0 * attributes.Blocks / attributes.Size).ToString("G6", CultureInfo.InvariantCulture).Replace('E', 'e');
    }

    // As GNU find splits a path: of slashes at the end, one stays behind the name.
    private static ReadOnlySpan<byte> LastNameOf(ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> trimmed = path.TrimEnd((byte)'/');
        int start = trimmed.LastIndexOf((byte)'/') + 1;
        return trimmed.IsEmpty ? "/"u8 : path[start..Math.Min(path.Length, trimmed.Length + 1)];
    }

    private static ReadOnlySpan<byte> DirectoryOf(ReadOnlySpan<byte> path)
    {
        ReadOnlySpan<byte> trimmed = path.TrimEnd((byte)'/');
        int slash = trimmed.LastIndexOf((byte)'/');
        return trimmed.IsEmpty ? "/"u8 : slash < 0 ? "."u8 : trimmed[..slash];
    }

    private static void WriteName(CommandOutput output, Segment segment, ReadOnlySpan<byte> name, uint number)
        => WriteText(output, segment, name.IsEmpty ? Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture)) : name);

    private static void WriteText(CommandOutput output, Segment segment, ReadOnlySpan<byte> text)
    {
        text = segment.Precision >= 0 && segment.Precision < text.Length ? text[..segment.Precision] : text;
        string padding = new(' ', Math.Max(0, segment.Width - text.Length));
        bool isLeft = segment.Flags.Contains('-', StringComparison.Ordinal);
        output.Write(isLeft ? "" : padding);
        output.WriteName(text);
        output.Write(isLeft ? padding : "");
    }

    private static void WriteNumber(CommandOutput output, Segment segment, string digits, bool isSigned)
    {
        string sign = !isSigned ? "" : segment.Flags.Contains('+', StringComparison.Ordinal) ? "+" : segment.Flags.Contains(' ', StringComparison.Ordinal) ? " " : "";
        digits = segment.Precision == 0 && digits == "0" ? "" : digits.PadLeft(Math.Max(0, segment.Precision), '0');
        bool isLeft = segment.Flags.Contains('-', StringComparison.Ordinal);
        if (!isLeft && segment.Precision < 0 && segment.Flags.Contains('0', StringComparison.Ordinal))
        {
            digits = digits.PadLeft(Math.Max(0, segment.Width - sign.Length), '0');
        }
        output.Write(isLeft ? (sign + digits).PadRight(segment.Width) : (sign + digits).PadLeft(segment.Width));
    }
}
