using System.Globalization;
using LazyMount.FileSystem;

namespace LazyMount.Cli;

/// <summary>The most waste that is accepted: bytes, or a share of the bytes of all files.</summary>
internal sealed class WasteLimit
{
    private readonly string _text;
    private readonly long? _bytes;
    private readonly double _percent;

    private WasteLimit(string text, long? bytes, double percent) => (_text, _bytes, _percent) = (text, bytes, percent);

    /// <summary>Parses a size such as "10M", or a percentage such as "5%" or "0.5%".</summary>
    public static bool TryParse(string text, out WasteLimit limit)
    {
        double percent = 0;
        bool isPercentage = text.EndsWith('%');
        bool isValid = isPercentage
            ? double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out percent) && percent <= 100
            : ByteSize.TryParse(text, out _);
        limit = new WasteLimit(text, isPercentage || !ByteSize.TryParse(text, out long bytes) ? null : bytes, percent);
        return isValid;
    }

    /// <summary>Whether an image has more waste than that.</summary>
    public bool IsBelow(WastedBytes waste) => _bytes is { } bytes ? waste.Wasted > bytes : 100.0 * waste.Wasted > _percent * waste.Size;

    public override string ToString() => _text;
}
