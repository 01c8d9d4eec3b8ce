using System.Text;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using Microsoft.Extensions.Logging;

namespace LazyMount.Serving;

/// <summary>The images that the command line names, and no others: a visitor must not use the owner's credentials.</summary>
internal sealed class ServedImages : IAsyncDisposable
{
    private const int LongestName = 60;

    private readonly Dictionary<string, ServedImage> _byName = new(StringComparer.Ordinal);

    public ServedImages(IEnumerable<ImageReference> references, CommandSettings settings, ILoggerFactory loggers)
    {
        List<ServedImage> all = [];
        foreach (ImageReference reference in references)
        {
            string name = NameOf(reference), unique = name;
            for (int number = 2; _byName.ContainsKey(unique); number++)
            {
                unique = $"{name}-{number}";
            }
            var image = new ServedImage(unique, reference, settings, loggers);
            _byName.Add(unique, image);
            all.Add(image);
        }
        All = all;
    }

    /// <summary>In the order of the command line.</summary>
    public IReadOnlyList<ServedImage> All { get; }

    /// <summary>The image of a name in a URL, or null.</summary>
    public ServedImage? Find(ReadOnlySpan<byte> name) => _byName.GetValueOrDefault(Encoding.Latin1.GetString(name));

    /// <summary>What an image is called in URLs, and as a directory of the drive: its last name and tag in characters that every system takes.</summary>
    internal static string NameOf(ImageReference reference)
    {
        string place = reference.Transport == Transport.Registry ? reference.Repository : reference.Location;
        string text = place.TrimEnd('/').Split('/')[^1];
        if (reference.Tag is { } tag)
        {
            text += $"-{tag}";
        }
        else if (reference.Digest is { } digest)
        {
            text += $"-{digest.Hex[..12]}";
        }
        else if (reference.SourceIndex is int index)
        {
            text += $"-{index}";
        }
        var name = new StringBuilder();
        foreach (char each in text)
        {
            name.Append(char.IsAsciiLetterOrDigit(each) || each is '.' or '_' ? each : '-');
        }
        string trimmed = name.ToString().Trim('.', '-');
        trimmed = trimmed.Length > LongestName ? trimmed[..LongestName].TrimEnd('.', '-') : trimmed;
        return trimmed.Length == 0 ? "image" : trimmed;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (ServedImage image in All)
        {
            await image.DisposeAsync();
        }
    }
}
