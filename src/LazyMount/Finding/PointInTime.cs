using System.Globalization;

namespace LazyMount.Finding;

/// <summary>Times as users write them for <c>-newermt</c>. A time without a zone is in UTC.</summary>
internal static class PointInTime
{
    private static readonly string[] s_formats =
    [
        "yyyy-MM-dd", "yyyyMMdd", "yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mm:ss.FFFFFFF",
        "yyyy-MM-ddTHH:mm", "yyyy-MM-ddTHH:mm:ss", "yyyy-MM-ddTHH:mm:ss.FFFFFFF",
        "yyyy-MM-dd HH:mmK", "yyyy-MM-dd HH:mm:ssK", "yyyy-MM-ddTHH:mmK", "yyyy-MM-ddTHH:mm:ssK", "yyyy-MM-ddTHH:mm:ss.FFFFFFFK",
        "yyyy-MM-dd HH:mm zzz", "yyyy-MM-dd HH:mm:ss zzz", "yyyy-MM-dd HH:mm:ss.FFFFFFF zzz", "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
    ];

    /// <summary>Parses <c>2026-01-31</c>, <c>2026-01-31 12:00:00</c>, RFC 3339, <c>@SECONDS</c>, <c>now</c>, <c>today</c>, <c>yesterday</c> or <c>N UNITS ago</c>.</summary>
    public static bool TryParse(string text, DateTimeOffset now, out (long Seconds, long Nanoseconds) time)
    {
        text = text.Trim();
        if (text is ['@', ..] && decimal.TryParse(text[1..], NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal seconds)
            && Math.Abs(seconds) < long.MaxValue)
        {
            time = FromDecimal(seconds);
            return true;
        }
        DateTimeOffset? parsed = DateTimeOffset.TryParseExact(text, s_formats, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset exact) ? exact : Relative(text, now);
        time = parsed is { } known ? FromDecimal(ToDecimal(known)) : default;
        return parsed is not null;
    }

    /// <summary>Seconds since 1970, with the fraction.</summary>
    public static decimal ToDecimal(DateTimeOffset time) => (time.UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) / (decimal)TimeSpan.TicksPerSecond;

    private static (long Seconds, long Nanoseconds) FromDecimal(decimal seconds)
        => ((long)Math.Floor(seconds), (long)((seconds - Math.Floor(seconds)) * 1_000_000_000));

    private static DateTimeOffset? Relative(string text, DateTimeOffset now)
    {
        switch (text)
        {
            case "now" or "today":
                return now;
            case "yesterday":
                return now.AddDays(-1);
        }
        if (text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is not [string number, string unit, "ago"]
            || !int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int count))
        {
            return null;
        }
        try
        {
            return unit.TrimEnd('s') switch
            {
                "second" or "sec" => now.AddSeconds(-count),
                "minute" or "min" => now.AddMinutes(-count),
                "hour" => now.AddHours(-count),
                "day" => now.AddDays(-count),
                "week" => now.AddDays(-7d * count),
                "month" => now.AddMonths(-count),
                "year" => now.AddYears(-count),
                _ => null,
            };
        }
        catch (ArgumentOutOfRangeException)
        {
            return null;
        }
    }
}
