using System.Buffers;
using LazyMount.Blobs.Files;
using LazyMount.FileSystem;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Output;

/// <summary>
/// The colours of names as ls(1) has them: from the variable LS_COLORS (dircolors(1)), or the colours that dircolors has when it is not set.
/// An entry that is not of the form is passed over. Immutable, thread-safe.
/// </summary>
internal sealed class LsColors
{
    // Parameters of an escape sequence, and nothing that ends it.
    private static readonly SearchValues<char> s_color = SearchValues.Create("0123456789;");

    private const string DefaultTypes =
        "rs=0:di=01;34:ln=01;36:mh=00:pi=40;33:so=01;35:do=01;35:bd=40;33;01:cd=40;33;01:or=40;31;01:mi=00:su=37;41:sg=30;43:ca=00:tw=30;42:ow=34;42:st=37;44:ex=01;32";

    // What ls(1) has for the types that LS_COLORS does not name.
    private const string BuiltInTypes =
        "di=01;34:ln=01;36:pi=33:so=01;35:do=01;35:bd=01;33:cd=01;33:su=37;41:sg=30;43:ca=30;41:tw=30;42:ow=34;42:st=37;44:ex=01;32";

    private static readonly (string Color, string Suffixes)[] s_defaultSuffixes =
    [
        ("01;31", ".tar .tgz .arc .arj .taz .lha .lz4 .lzh .lzma .tlz .txz .tzo .t7z .zip .z .dz .gz .lrz .lz .lzo .xz .zst .tzst .bz2 .bz"),
        ("01;31", ".tbz .tbz2 .tz .deb .rpm .jar .war .ear .sar .rar .alz .ace .zoo .cpio .7z .rz .cab .wim .swm .dwm .esd"),
        ("01;35", ".avif .jpg .jpeg .mjpg .mjpeg .gif .bmp .pbm .pgm .ppm .tga .xbm .xpm .tif .tiff .png .svg .svgz .mng .pcx .mov .mpg"),
        ("01;35", ".mpeg .m2v .mkv .webm .webp .ogm .mp4 .m4v .mp4v .vob .qt .nuv .wmv .asf .rm .rmvb .flc .avi .fli .flv .gl .dl .xcf .xwd"),
        ("01;35", ".yuv .cgm .emf .ogv .ogx"),
        ("00;36", ".aac .au .flac .m4a .mid .midi .mka .mp3 .mpc .ogg .ra .wav .oga .opus .spx .xspf"),
        ("00;90", "~ # .bak .old .orig .part .rej .swp .tmp .dpkg-dist .dpkg-old .ucf-dist .ucf-new .ucf-old .rpmnew .rpmorig .rpmsave"),
    ];

    private readonly Dictionary<string, string> _types = new(StringComparer.Ordinal);
    private readonly List<(byte[] Suffix, string Color)> _suffixes = [];

    /// <summary>Reads the value of LS_COLORS; null stands for the default.</summary>
    public LsColors(string? variable)
    {
        if (variable is null)
        {
            foreach ((string color, string suffixes) in s_defaultSuffixes)
            {
                foreach (string suffix in suffixes.Split(' '))
                {
                    _suffixes.Add((PathText.Encode(suffix), color));
                }
            }
        }
        Read(variable is null ? DefaultTypes : BuiltInTypes);
        Read(variable ?? "");
    }

    /// <summary>The colours that the environment asks for.</summary>
    public static LsColors OfEnvironment() => new(PathText.FromEnvironment("LS_COLORS"));

    /// <summary>Writes a name in its colour.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="tree">The tree.</param>
    /// <param name="entry">The name and its node.</param>
    public void WriteName(CommandOutput output, ImageTree tree, in NamedNode entry)
        => Write(output, entry.Name.Span, ColorOf(tree, entry.Node, entry.Name.Span, IsBroken(tree, entry)));

    /// <summary>Writes where a symbolic link points, in the colour of what is there.</summary>
    public void WriteTarget(CommandOutput output, ImageTree tree, in NamedNode link)
    {
        byte[] target = tree.LinkTarget(link.Node);
        Write(output, target, PathResolver.Resolve(tree, link.Path.Span, followFinal: true, out ResolvedPath resolved) == Errno.None
            ? ColorOf(tree, resolved.Node, target, isBroken: false)
            : ColorOf("mi") ?? ColorOf("or"));
    }

    private void Read(string entries)
    {
        foreach (string entry in entries.Split(':'))
        {
            int equals = entry.LastIndexOf('=');
            if (equals < 1 || entry.AsSpan(equals + 1).ContainsAnyExcept(s_color))
            {
                continue;
            }
            string key = entry[..equals], color = entry[(equals + 1)..];
            if (key[0] == '*')
            {
                _suffixes.Add((PathText.Encode(key[1..]), color));
            }
            else
            {
                _types[key] = color;
            }
        }
    }

    private static void Write(CommandOutput output, ReadOnlySpan<byte> name, string? color)
    {
        if (color is null)
        {
            output.WriteName(name);
            return;
        }
        output.Write($"\e[{color}m");
        output.WriteName(name);
        output.Write("\e[0m");
    }

    private bool IsBroken(ImageTree tree, in NamedNode entry)
        => FileMode.IsSymlink(tree.Mode(entry.Node)) && ColorOf("or") is not null
            && PathResolver.Resolve(tree, entry.Path.Span, followFinal: true, out _) != Errno.None;

    // The order in which ls(1) asks.
    private string? ColorOf(ImageTree tree, ulong node, ReadOnlySpan<byte> name, bool isBroken)
    {
        NodeAttributes attributes = tree.Attributes(node);
        uint mode = attributes.Mode;
        switch (mode & FileMode.TypeMask)
        {
            case FileMode.Directory:
                return ((mode & 0x202) == 0x202 ? ColorOf("tw") : null)
                    ?? ((mode & 0x2) != 0 ? ColorOf("ow") : null)
                    ?? ((mode & 0x200) != 0 ? ColorOf("st") : null)
                    ?? ColorOf("di");
            case FileMode.Symlink:
                return isBroken ? ColorOf("or") : ColorOf("ln");
            case FileMode.Fifo:
                return ColorOf("pi");
            case FileMode.BlockDevice:
                return ColorOf("bd");
            case FileMode.CharacterDevice:
                return ColorOf("cd");
            default:
                return ((mode & 0x800) != 0 ? ColorOf("su") : null)
                    ?? ((mode & 0x400) != 0 ? ColorOf("sg") : null)
                    ?? (ColorOf("ca") is { } capable && tree.ReadXattr(node, "security.capability"u8, default) >= 0 ? capable : null)
                    ?? ((mode & 0x49) != 0 ? ColorOf("ex") : null)
                    ?? (attributes.LinkCount > 1 ? ColorOf("mh") : null)
                    ?? ColorOfSuffix(name)
                    ?? ColorOf("fi");
        }
    }

    private string? ColorOfSuffix(ReadOnlySpan<byte> name)
    {
        for (int i = _suffixes.Count - 1; i >= 0; i--)
        {
            (byte[] suffix, string color) = _suffixes[i];
            if (name.Length >= suffix.Length && System.Text.Ascii.EqualsIgnoreCase(name[^suffix.Length..], suffix))
            {
                return IsColor(color) ? color : null;
            }
        }
        return null;
    }

    // Null for "no colour".
    private string? ColorOf(string type) => _types.TryGetValue(type, out string? color) && IsColor(color) ? color : null;

    private static bool IsColor(string color) => color is not ("" or "0" or "00");
}
