using System.Text;

namespace LazyMount.Finding;

/// <summary>
/// A shell pattern as find(1) matches it: <c>*</c> any text, also slashes and leading dots, <c>?</c> one character, <c>[a-z]</c> one of a
/// set, a backslash makes the next character an ordinary one. Names are bytes: a byte that is not UTF-8 is a character of its own. Takes
/// time of at most pattern times name. Immutable, thread-safe.
/// </summary>
internal sealed class GlobPattern
{
    private enum Kind
    {
        Character,
        Anything,
        AnyCharacter,
        Set,

        /// <summary>A backslash at the end, which matches nothing.</summary>
        Nothing,
    }

    private readonly record struct Part(Kind Kind, int Character = 0, CharacterSet? Set = null);

    private readonly Part[] _parts;
    private readonly bool _ignoresCase;

    /// <summary>Reads a pattern. There are no wrong ones: a bracket without its end is an ordinary character.</summary>
    public GlobPattern(ReadOnlySpan<byte> pattern, bool ignoresCase)
    {
        _ignoresCase = ignoresCase;
        List<Part> parts = [];
        while (!pattern.IsEmpty)
        {
            int character = TakeCharacter(ref pattern);
            switch (character)
            {
                case '*' when parts is [.., { Kind: Kind.Anything }]:
                    break;
                case '*':
                    parts.Add(new Part(Kind.Anything));
                    break;
                case '?':
                    parts.Add(new Part(Kind.AnyCharacter));
                    break;
                case '[' when CharacterSet.TryTake(ref pattern, out CharacterSet? set):
                    parts.Add(new Part(Kind.Set, Set: set));
                    break;
                case '\\':
                    parts.Add(pattern.IsEmpty ? new Part(Kind.Nothing) : new Part(Kind.Character, Fold(TakeCharacter(ref pattern))));
                    break;
                default:
                    parts.Add(new Part(Kind.Character, Fold(character)));
                    break;
            }
        }
        _parts = [.. parts];
    }

    /// <summary>Whether the whole of a name is of the pattern.</summary>
    public bool Matches(ReadOnlySpan<byte> name)
    {
        // What follows the last star is tried at one place after the other; stars before it need not be looked at again.
        int part = 0, star = -1;
        ReadOnlySpan<byte> rest = name, afterStar = default;
        while (true)
        {
            if (part < _parts.Length && _parts[part].Kind == Kind.Anything)
            {
                star = part++;
                afterStar = rest;
                continue;
            }
            if (part == _parts.Length ? rest.IsEmpty : !rest.IsEmpty && MatchesOne(_parts[part], ref rest))
            {
                if (part++ == _parts.Length)
                {
                    return true;
                }
                continue;
            }
            if (star < 0 || afterStar.IsEmpty)
            {
                return false;
            }
            TakeCharacter(ref afterStar);
            part = star + 1;
            rest = afterStar;
        }
    }

    private bool MatchesOne(in Part part, ref ReadOnlySpan<byte> rest)
    {
        int character = TakeCharacter(ref rest);
        return part.Kind switch
        {
            Kind.AnyCharacter => true,
            Kind.Character => part.Character == Fold(character),
            Kind.Set => part.Set!.Contains(character, _ignoresCase),
            _ => false,
        };
    }

    private int Fold(int character) => _ignoresCase ? CharacterSet.ToLower(character) : character;

    /// <summary>Takes a character from the front: its code point, or behind those a number for a byte that is no text.</summary>
    internal static int TakeCharacter(ref ReadOnlySpan<byte> text)
    {
        bool isText = Rune.DecodeFromUtf8(text, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
        int character = isText ? rune.Value : CharacterSet.FirstByte + text[0];
        text = text[(isText ? length : 1)..];
        return character;
    }
}
