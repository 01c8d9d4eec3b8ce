using System.Buffers.Text;
using LazyMount.Cli;

namespace LazyMount.Trees;

/// <summary>
/// The names of an image's users or groups: its /etc/passwd or /etc/group, of which the first line for a number or a name counts, as in
/// getpwuid(3). Lines that are not of the form are passed over.
/// </summary>
internal sealed class IdNames
{
    /// <summary>More than any file of users that people have. A larger one is refused.</summary>
    private const int MaxFileSize = 16 << 20;

    private readonly Dictionary<uint, byte[]> _names = [];
    private readonly Dictionary<string, uint> _numbers = new(StringComparer.Ordinal);

    private IdNames()
    {
    }

    /// <summary>Reads /etc/passwd of an image. No names when there is no such file. Fetches the bytes of the file.</summary>
    public static Task<IdNames> ReadUsersAsync(OpenedTree opened, CancellationToken cancellationToken) => ReadAsync(opened, "/etc/passwd", cancellationToken);

    /// <summary>Reads /etc/group of an image. No names when there is no such file. Fetches the bytes of the file.</summary>
    public static Task<IdNames> ReadGroupsAsync(OpenedTree opened, CancellationToken cancellationToken) => ReadAsync(opened, "/etc/group", cancellationToken);

    /// <summary>The name of a number; empty when it has none.</summary>
    public ReadOnlySpan<byte> NameOf(uint number) => _names.TryGetValue(number, out byte[]? name) ? name : default;

    /// <summary>The number of a name, or null.</summary>
    public uint? NumberOf(string name) => _numbers.TryGetValue(name, out uint number) ? number : null;

    /// <summary>Reads lines of the form NAME:PASSWORD:NUMBER….</summary>
    internal static IdNames Parse(ReadOnlySpan<byte> file)
    {
        var names = new IdNames();
        foreach (Range line in file.Split((byte)'\n'))
        {
            ReadOnlySpan<byte> rest = file[line];
            ReadOnlySpan<byte> name = TakeField(ref rest);
            TakeField(ref rest);
            ReadOnlySpan<byte> number = TakeField(ref rest);
            if (name.IsEmpty || name[0] == '#' || !Utf8Parser.TryParse(number, out uint id, out int length) || length != number.Length)
            {
                continue;
            }
            names._names.TryAdd(id, name.ToArray());
            names._numbers.TryAdd(ImagePathText.Decode(name), id);
        }
        return names;
    }

    private static async Task<IdNames> ReadAsync(OpenedTree opened, string path, CancellationToken cancellationToken)
        => Parse(await opened.TryReadAsync(path, MaxFileSize, cancellationToken) ?? []);

    private static ReadOnlySpan<byte> TakeField(ref ReadOnlySpan<byte> line)
    {
        int end = line.IndexOf((byte)':');
        ReadOnlySpan<byte> field = end < 0 ? line : line[..end];
        line = end < 0 ? default : line[(end + 1)..];
        return field;
    }
}
