using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Finding;

/// <summary>Permissions as chmod(1) takes them, octal or symbolic, applied to no permissions at all and with no umask: as find(1) reads <c>-perm</c>.</summary>
internal static class PermissionText
{
    private const uint SetUser = 0x800, SetGroup = 0x400, Sticky = 0x200, All = 0xFFF;

    /// <summary>Parses permissions: one value for directories and one for all else, which differ by <c>X</c>. False when the text is none.</summary>
    public static bool TryParse(string text, out uint file, out uint directory)
    {
        directory = 0;
        return TryParse(text, isDirectory: false, out file) && TryParse(text, isDirectory: true, out directory);
    }

    /// <summary>The permission bits of an st_mode.</summary>
    public static uint Of(uint mode) => mode & ~FileMode.TypeMask;

    private static bool TryParse(string text, bool isDirectory, out uint mode)
    {
        mode = 0;
        if (text.Length > 0 && text.All(char.IsAsciiDigit))
        {
            foreach (char digit in text)
            {
                mode = (mode << 3) | (uint)(digit - '0');
                if (digit > '7' || mode > All)
                {
                    return false;
                }
            }
            return true;
        }
        foreach (string clause in text.Split(','))
        {
            if (!TryApply(clause, isDirectory, ref mode))
            {
                return false;
            }
        }
        return true;
    }

    // Such as "ug+rX-w": who, and then any number of changes.
    private static bool TryApply(string clause, bool isDirectory, ref uint mode)
    {
        int at = 0;
        uint who = 0;
        for (; at < clause.Length && WhoOf(clause[at]) is var some && some != 0; at++)
        {
            who |= some;
        }
        who = who == 0 ? All : who;
        if (at == clause.Length)
        {
            return false;
        }
        while (at < clause.Length)
        {
            char change = clause[at++];
            if (change is not ('+' or '-' or '='))
            {
                return false;
            }
            uint bits = 0;
            for (; at < clause.Length && clause[at] is not ('+' or '-' or '='); at++)
            {
                switch (clause[at])
                {
                    case 'r': bits |= 0x124; break;
                    case 'w': bits |= 0x92; break;
                    case 'x': bits |= 0x49; break;
                    case 'X': bits |= isDirectory || (mode & 0x49) != 0 ? 0x49u : 0; break;
                    case 's': bits |= SetUser | SetGroup; break;
                    case 't': bits |= Sticky; break;
                    case 'u': bits |= Spread(mode >> 6); break;
                    case 'g': bits |= Spread(mode >> 3); break;
                    case 'o': bits |= Spread(mode); break;
                    default: return false;
                }
            }
            bits &= who;
            mode = change switch { '+' => mode | bits, '-' => mode & ~bits, _ => (mode & ~who) | bits };
        }
        return true;
    }

    private static uint WhoOf(char letter) => letter switch
    {
        'u' => SetUser | 0x1C0,
        'g' => SetGroup | 0x38,
        'o' => Sticky | 0x7,
        'a' => All,
        _ => 0,
    };

    // The three bits of one class, for all classes.
    private static uint Spread(uint bits) => (bits & 7) * 0x49;
}
