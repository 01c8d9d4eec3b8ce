using System.Globalization;

namespace LazyMount.Cli;

/// <summary>Sizes as users write and read them: K, M, G and T are powers of 1024.</summary>
internal static class ByteSize
{
    private const string Units = "KMGT";
    private const string ShortUnits = "KMGTPE";

    /// <summary>Parses "4096", "500M", "10G", "10GiB" or "1.5T"; false for anything else, and for what is negative or too large.</summary>
    public static bool TryParse(string text, out long bytes)
    {
        string number = text.TrimEnd();
        int exponent = 0;
        foreach (string suffix in (string[])["iB", "B"])
        {
            if (number.EndsWith(suffix, StringComparison.OrdinalIgnoreCase))
            {
                number = number[..^suffix.Length];
                break;
            }
        }
        if (number.Length > 0 && Units.IndexOf(char.ToUpperInvariant(number[^1]), StringComparison.Ordinal) is >= 0 and var unit)
        {
            (number, exponent) = (number[..^1], unit + 1);
        }
        bytes = 0;
        if (!double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value))
        {
            return false;
        }
        value *= Math.Pow(1024, exponent);
        if (value >= long.MaxValue)
        {
            return false;
        }
        bytes = (long)value;
        return true;
    }

    /// <summary>Such as "1.3 GiB".</summary>
    public static string Format(long bytes)
    {
        int unit = 0;
        double value = bytes;
        for (; value >= 1024 && unit < Units.Length; unit++)
        {
            value /= 1024;
        }
        return unit == 0 ? string.Create(CultureInfo.InvariantCulture, $"{bytes} B") : string.Create(CultureInfo.InvariantCulture, $"{value:0.0} {Units[unit - 1]}iB");
    }

    /// <summary>
    /// As <c>du -h</c> and <c>ls -h</c> write sizes, such as "1.5M", "12K" or "512": rounded up, with one digit behind the point below ten.
    /// </summary>
    public static string FormatShort(long bytes)
    {
        UInt128 unit = 1, size = (UInt128)bytes;
        int exponent = 0;
        for (; Up(size, unit) >= 1024 && exponent < ShortUnits.Length; exponent++)
        {
            unit <<= 10;
        }
        UInt128 tenths = Up(size * 10, unit);
        string number = exponent == 0 || tenths >= 100
            ? Up(size, unit).ToString(CultureInfo.InvariantCulture)
            : string.Create(CultureInfo.InvariantCulture, $"{tenths / 10}.{tenths % 10}");
        return exponent == 0 ? number : number + ShortUnits[exponent - 1];

        static UInt128 Up(UInt128 size, UInt128 unit) => (size + unit - 1) / unit;
    }
}
