namespace LazyMount.Blobs.Oci;

/// <summary>Times as JSON documents write them: RFC 3339.</summary>
public static class Rfc3339
{
    /// <summary>
    /// Parses 2006-01-02T15:04:05.999999999-07:00: years 0 to 9999, at most nine digits of a fraction, any zone. Seconds count from 1970.
    /// Null for everything else.
    /// </summary>
    public static (long Seconds, uint Nanoseconds)? TryParse(ReadOnlySpan<byte> text)
    {
        const int Length = 19; // without fraction and zone
        if (text.Length <= Length || text[4] != '-' || text[7] != '-' || (text[10] | 0x20) != 't' || text[13] != ':' || text[16] != ':'
            || Digits(text[..4]) is not (>= 0 and var year) || Digits(text.Slice(5, 2)) is not (>= 1 and <= 12 and var month)
            || Digits(text.Slice(8, 2)) is not (>= 1 and var day) || day > DaysOf(year, month)
            || Digits(text.Slice(11, 2)) is not (>= 0 and < 24 and var hour) || Digits(text.Slice(14, 2)) is not (>= 0 and < 60 and var minute)
            || Digits(text.Slice(17, 2)) is not (>= 0 and < 60 and var second))
        {
            return null;
        }
        text = text[Length..];
        uint nanoseconds = 0;
        if (text[0] == '.')
        {
            int digits = text[1..].IndexOfAnyExceptInRange((byte)'0', (byte)'9');
            if (digits is < 1 or > 9)
            {
                return null;
            }
            for (int i = 1; i <= 9; i++)
            {
                nanoseconds = nanoseconds * 10 + (i <= digits ? text[i] - (uint)'0' : 0);
            }
            text = text[(1 + digits)..];
        }
        int offset = 0;
        if (text.Length == 6 && text[0] is (byte)'+' or (byte)'-' && text[3] == ':'
            && Digits(text.Slice(1, 2)) is >= 0 and < 24 and var hours && Digits(text.Slice(4, 2)) is >= 0 and < 60 and var minutes)
        {
            offset = (hours * 60 + minutes) * (text[0] == '-' ? -60 : 60);
        }
        else if (text.Length != 1 || (text[0] | 0x20) != 'z')
        {
            return null;
        }
        return (DaysSince1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset, nanoseconds);
    }

    // The calendar repeats every 400 years; DateTime has no year 0.
    private static int DaysOf(int year, int month) => DateTime.DaysInMonth(year == 0 ? 400 : year, month);

    // Years that begin in March, so that the day that leap years add is their last.
    private static long DaysSince1970(int year, int month, int day)
    {
        year -= month <= 2 ? 1 : 0;
        long era = (year >= 0 ? year : year - 399) / 400;
        long yearOfEra = year - era * 400;
        long dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
        return era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468;
    }

    // -1 for what is not all digits.
    private static int Digits(ReadOnlySpan<byte> text)
    {
        int value = 0;
        foreach (byte b in text)
        {
            if (b is < (byte)'0' or > (byte)'9')
            {
                return -1;
            }
            value = value * 10 + (b - '0');
        }
        return value;
    }
}
