using System.Text;

namespace LazyMount.Finding;

/// <summary>The characters between brackets in a shell pattern (POSIX 2.13.1, fnmatch(3)). Immutable, thread-safe.</summary>
internal sealed class CharacterSet
{
    /// <summary>The number of byte 0 that is no text: behind all code points.</summary>
    public const int FirstByte = 0x11_0000;

    private readonly List<(int First, int Last)> _ranges = [];
    private readonly List<Func<Rune, bool>> _classes = [];
    private readonly bool _isNegated;

    private CharacterSet(bool isNegated) => _isNegated = isNegated;

    /// <summary>Takes a set, whose opening bracket was taken, from the front of a pattern. False, and nothing is taken, when it does not end.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> pattern, out CharacterSet? set)
    {
        ReadOnlySpan<byte> rest = pattern;
        bool isNegated = rest is [(byte)'!' or (byte)'^', ..];
        rest = isNegated ? rest[1..] : rest;
        set = new CharacterSet(isNegated);
        for (bool isFirst = true; !rest.IsEmpty; isFirst = false)
        {
            if (rest[0] == ']' && !isFirst)
            {
                pattern = rest[1..];
                return true;
            }
            if (rest.StartsWith("[:"u8) && rest[2..].IndexOf(":]"u8) is >= 0 and int end)
            {
                set._classes.Add(ClassNamed(rest.Slice(2, end)));
                rest = rest[(end + 4)..];
                continue;
            }
            if (!TryTakeMember(ref rest, out int first))
            {
                break;
            }
            int last = first;
            if (rest is [(byte)'-', not (byte)']', ..])
            {
                rest = rest[1..];
                if (!TryTakeMember(ref rest, out last))
                {
                    break;
                }
            }
            set._ranges.Add((first, last));
        }
        set = null;
        return false;
    }

    /// <summary>Whether a character is one of the set.</summary>
    public bool Contains(int character, bool ignoresCase)
        => (Has(character) || (ignoresCase && (Has(ToLower(character)) || Has(ToUpper(character))))) != _isNegated;

    /// <summary>The small letter of a character, or the character.</summary>
    public static int ToLower(int character) => Rune.IsValid(character) ? Rune.ToLowerInvariant(new Rune(character)).Value : character;

    private static int ToUpper(int character) => Rune.IsValid(character) ? Rune.ToUpperInvariant(new Rune(character)).Value : character;

    private bool Has(int character)
    {
        foreach ((int first, int last) in _ranges)
        {
            if (character >= first && character <= last)
            {
                return true;
            }
        }
        if (Rune.IsValid(character))
        {
            foreach (Func<Rune, bool> isOfClass in _classes)
            {
                if (isOfClass(new Rune(character)))
                {
                    return true;
                }
            }
        }
        return false;
    }

    private static bool TryTakeMember(ref ReadOnlySpan<byte> rest, out int character)
    {
        character = 0;
        foreach (byte mark in "=."u8)
        {
            // An equivalence class or a collating symbol of one character is that character.
            if (rest.Length > 4 && rest[0] == '[' && rest[1] == mark)
            {
                ReadOnlySpan<byte> inside = rest[2..];
                int symbol = GlobPattern.TakeCharacter(ref inside);
                if (inside.Length >= 2 && inside[0] == mark && inside[1] == ']')
                {
                    character = symbol;
                    rest = inside[2..];
                    return true;
                }
            }
        }
        if (rest is [(byte)'\\', _, ..])
        {
            rest = rest[1..];
        }
        if (rest.IsEmpty)
        {
            return false;
        }
        character = GlobPattern.TakeCharacter(ref rest);
        return true;
    }

    // A class that there is not has no characters, as in fnmatch(3).
    private static Func<Rune, bool> ClassNamed(ReadOnlySpan<byte> name) => Encoding.ASCII.GetString(name) switch
    {
        "alnum" => Rune.IsLetterOrDigit,
        "alpha" => Rune.IsLetter,
        "blank" => static rune => rune.Value is ' ' or '\t',
        "cntrl" => Rune.IsControl,
        "digit" => static rune => rune.Value is >= '0' and <= '9',
        "graph" => static rune => !Rune.IsControl(rune) && !Rune.IsWhiteSpace(rune),
        "lower" => Rune.IsLower,
        "print" => static rune => !Rune.IsControl(rune),
        "punct" => static rune => Rune.IsPunctuation(rune) || Rune.IsSymbol(rune),
        "space" => Rune.IsWhiteSpace,
        "upper" => Rune.IsUpper,
        "xdigit" => static rune => rune.IsAscii && char.IsAsciiHexDigit((char)rune.Value),
        _ => static _ => false,
    };
}
