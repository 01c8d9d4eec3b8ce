using System.Globalization;

namespace LazyMount.Cli;

/// <summary>Durations as users write them.</summary>
internal static class Duration
{
    private static readonly (string Unit, double Seconds)[] s_units = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)];

    /// <summary>The longest: a day.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromDays(1);

    /// <summary>Parses "60", "60s", "1.5s", "500ms", "2m" or "1h"; false for anything else, and for what is not positive or longer than <see cref="Longest"/>.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        (string unit, double seconds) = Array.Find(s_units, each => text.EndsWith(each.Unit, StringComparison.Ordinal));
        string number = unit is null ? text : text[..^unit.Length];
        duration = default;
        if (!double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value))
        {
            return false;
        }
        value *= unit is null ? 1 : seconds;
        if (value < 0.001 || value > Longest.TotalSeconds)
        {
            return false;
        }
        duration = TimeSpan.FromSeconds(value);
        return true;
    }
}
