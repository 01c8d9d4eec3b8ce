using System.Globalization;

namespace LazyMount.Output;

/// <summary>What is known of the terminal behind a standard descriptor.</summary>
/// <param name="Width">Columns.</param>
/// <param name="IsPlain">It shows text only: no escape sequence may be written to it (TERM is "dumb" or not set).</param>
internal sealed record Terminal(int Width, bool IsPlain)
{
    /// <summary>Columns where nobody says how many there are.</summary>
    public const int UsualWidth = 80;

    /// <summary>The terminal that a descriptor is; null when it is something else.</summary>
    public static Terminal? Of(int descriptor)
    {
        if (!Interop.IsTerminal(descriptor))
        {
            return null;
        }
        bool isSet = int.TryParse(Environment.GetEnvironmentVariable("COLUMNS"), NumberStyles.None, CultureInfo.InvariantCulture, out int columns) && columns > 0;
        int width = isSet ? columns : Interop.TerminalWidth(descriptor);
        return new Terminal(width > 0 ? width : UsualWidth, Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb");
    }
}
