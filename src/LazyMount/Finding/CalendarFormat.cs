using System.Globalization;
using LazyMount.Output;

namespace LazyMount.Finding;

/// <summary>Times as find(1)'s <c>%T</c> prints them: strftime(3)'s directives in the C locale, in UTC.</summary>
internal static class CalendarFormat
{
    private static readonly CultureInfo s_culture = CultureInfo.InvariantCulture;

    /// <summary>True for the letters of <see cref="Format"/>.</summary>
    public static bool IsDirective(char directive) => "@HIklMprSTX+ZaAbBcdDFhjmUwWxyYCeGgnPRstuVz".Contains(directive, StringComparison.Ordinal);

    /// <summary>One part of a time. A time that no calendar holds is <c>@SECONDS</c>.</summary>
    /// <param name="directive">The letter after <c>%T</c>.</param>
    /// <param name="seconds">Seconds since 1970.</param>
    /// <param name="nanoseconds">And nanoseconds.</param>
    public static string Format(char directive, long seconds, uint nanoseconds)
    {
        string fraction = $".{nanoseconds:D9}0"; // find(1) has room for ten digits
        switch (directive)
        {
            case '@':
                return seconds.ToString(s_culture) + fraction;
            case 's':
                return seconds.ToString(s_culture);
            case 'Z':
                return "UTC";
            case 'z':
                return "+0000";
            case 'n':
                return "\n";
            case 't':
                return "\t";
        }
        if (!EntryFormat.IsInCalendar(seconds))
        {
            return EntryFormat.ShortTime(seconds);
        }
        DateTime time = DateTimeOffset.FromUnixTimeSeconds(seconds).UtcDateTime;
        int hour12 = (time.Hour + 11) % 12 + 1, sundayFirst = (int)time.DayOfWeek, mondayFirst = (sundayFirst + 6) % 7;
        return directive switch
        {
            'H' => Text("HH"),
            'I' => hour12.ToString("D2", s_culture),
            'k' => time.Hour.ToString(s_culture).PadLeft(2),
            'l' => hour12.ToString(s_culture).PadLeft(2),
            'M' => Text("mm"),
            'p' => time.Hour < 12 ? "AM" : "PM",
            'P' => time.Hour < 12 ? "am" : "pm",
            'r' => $"{hour12:D2}:{Text("mm:ss")} {(time.Hour < 12 ? "AM" : "PM")}",
            'R' => Text("HH:mm"),
            'S' => Text("ss") + fraction,
            'T' or 'X' => Text("HH:mm:ss") + fraction,
            '+' => Text("yyyy-MM-dd+HH:mm:ss") + fraction,
            'a' => Text("ddd"),
            'A' => Text("dddd"),
            'b' or 'h' => Text("MMM"),
            'B' => Text("MMMM"),
            'c' => $"{Text("ddd MMM")} {time.Day,2} {Text("HH:mm:ss yyyy")}",
            'd' => Text("dd"),
            'e' => time.Day.ToString(s_culture).PadLeft(2),
            'D' or 'x' => Text("MM/dd/yy"),
            'F' => Text("yyyy-MM-dd"),
            'j' => time.DayOfYear.ToString("D3", s_culture),
            'm' => Text("MM"),
            'U' => ((time.DayOfYear + 6 - sundayFirst) / 7).ToString("D2", s_culture),
            'W' => ((time.DayOfYear + 6 - mondayFirst) / 7).ToString("D2", s_culture),
            'V' => ISOWeek.GetWeekOfYear(time).ToString("D2", s_culture),
            'G' => ISOWeek.GetYear(time).ToString(s_culture),
            'g' => (ISOWeek.GetYear(time) % 100).ToString("D2", s_culture),
            'w' => sundayFirst.ToString(s_culture),
            'u' => (mondayFirst + 1).ToString(s_culture),
            'y' => Text("yy"),
            'Y' => time.Year.ToString(s_culture),
            'C' => (time.Year / 100).ToString("D2", s_culture),
            _ => throw new ArgumentOutOfRangeException(nameof(directive), directive, "is no directive"),
        };

        string Text(string format) => time.ToString(format, s_culture);
    }

    /// <summary>The whole time, such as <c>Sat Nov  4 02:03:04.5000000000 2023</c>.</summary>
    public static string FormatAll(long seconds, uint nanoseconds)
    {
        string text = Format('c', seconds, nanoseconds);
        return EntryFormat.IsInCalendar(seconds) ? $"{text[..^5]}.{nanoseconds:D9}0{text[^5..]}" : text;
    }
}
