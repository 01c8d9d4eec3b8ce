using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using LazyMount.Cli;

namespace LazyMount.Finding;

/// <summary>The dialects of regular expressions that differ for us: GNU's names for each stand in <see cref="PathRegex.Dialects"/>.</summary>
internal enum RegexDialect
{
    /// <summary><c>+</c> and <c>?</c> repeat; groups and alternatives have backslashes; no intervals and no character classes. A point is no line break.</summary>
    Emacs,

    /// <summary>As <see cref="Emacs"/>, but a point is also a line break.</summary>
    EmacsWithLines,

    /// <summary>Groups, alternatives, intervals, <c>+</c> and <c>?</c> have backslashes.</summary>
    Basic,

    /// <summary>None of them has.</summary>
    Extended,
}

/// <summary>
/// A POSIX or emacs regular expression for whole paths, translated to one of .NET. It is matched in time linear in the path, unless it has a back
/// reference or a word boundary on one side: such an expression has <see cref="s_patience"/> for each path. Paths are text as <see cref="ImagePathText"/> decodes bytes.
/// Immutable, thread-safe.
/// </summary>
internal sealed class PathRegex
{
    /// <summary>GNU find's names of the dialects.</summary>
    public static readonly IReadOnlyDictionary<string, RegexDialect> Dialects = new Dictionary<string, RegexDialect>(StringComparer.Ordinal)
    {
        ["findutils-default"] = RegexDialect.EmacsWithLines,
        ["emacs"] = RegexDialect.Emacs,
        ["posix-basic"] = RegexDialect.Basic,
        ["grep"] = RegexDialect.Basic,
        ["sed"] = RegexDialect.Basic,
        ["ed"] = RegexDialect.Basic,
        ["posix-extended"] = RegexDialect.Extended,
        ["posix-egrep"] = RegexDialect.Extended,
        ["egrep"] = RegexDialect.Extended,
    };

    private const int MaxRepeats = 32767; // RE_DUP_MAX

    // One character: .NET counts those behind U+FFFF as two.
    private const string AnyCharacter = @"(?:[\uD800-\uDBFF][\uDC00-\uDFFF]|[^\uD800-\uDBFF])";
    private const string AnyOfLine = @"(?:[\uD800-\uDBFF][\uDC00-\uDFFF]|[^\n\uD800-\uDBFF])";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly Regex _regex;
    private readonly string _pattern;

    /// <summary>Translates an expression.</summary>
    /// <exception cref="FormatException">It is none. The message is a clause.</exception>
    public PathRegex(string pattern, RegexDialect dialect, bool ignoresCase)
    {
        _pattern = pattern;
        var translation = new Translation(pattern, dialect);
        string translated = $@"\A(?:{translation.Run()})\z";
        RegexOptions options = RegexOptions.CultureInvariant | (ignoresCase ? RegexOptions.IgnoreCase : RegexOptions.None);
        try
        {
            _regex = translation.NeedsBacktracking
                ? new Regex(translated, options, s_patience)
                : new Regex(translated, options | RegexOptions.NonBacktracking, s_patience);
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            throw new FormatException("it cannot be compiled", e);
        }
    }

    /// <summary>Whether the whole of a path is of the expression.</summary>
    public bool Matches(ReadOnlySpan<byte> path)
    {
        try
        {
            return _regex.IsMatch(ImagePathText.Decode(path));
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new CommandException($"cannot match the regular expression '{_pattern}' in time: use one without back references", ExitCode.Failed, e);
        }
    }

    private struct Translation(string pattern, RegexDialect givenDialect)
    {
        private readonly RegexDialect _dialect = givenDialect == RegexDialect.EmacsWithLines ? RegexDialect.Emacs : givenDialect;
        private readonly StringBuilder _to = new();
        private int _at;
        private int _depth;
        private int _groups;
        private int _atom = -1; // where in _to the thing begins that a repeat would repeat; -1: nothing does

        public bool NeedsBacktracking { get; private set; }

        public string Run()
        {
            var starts = new Stack<int>();
            while (_at < pattern.Length)
            {
                char c = pattern[_at++];
                bool isEscaped = c == '\\';
                if (isEscaped)
                {
                    if (_at == pattern.Length)
                    {
                        throw new FormatException("it ends with a backslash");
                    }
                    c = pattern[_at++];
                }
                // The characters whose meaning a backslash gives in one _dialect and takes away in another.
                bool isPlain = _dialect == RegexDialect.Extended ? !isEscaped : isEscaped;
                switch (c)
                {
                    case '(' when isPlain:
                        starts.Push(_to.Length);
                        _to.Append('(');
                        (_depth, _groups, _atom) = (_depth + 1, _groups + 1, -1);
                        break;
                    case ')' when isPlain && _depth > 0:
                        _to.Append(')');
                        (_depth, _atom) = (_depth - 1, starts.Pop());
                        break;
                    case ')' when isPlain && _dialect != RegexDialect.Extended:
                        throw new FormatException(@"a \) has no \( before it");
                    case '|' when isPlain:
                        _to.Append('|');
                        _atom = -1;
                        break;
                    case '{' when isPlain && _dialect != RegexDialect.Emacs && _atom >= 0:
                        AppendInterval();
                        break;
                    case '*' when !isEscaped && _atom >= 0:
                    case '+' or '?' when isEscaped == (_dialect == RegexDialect.Basic) && _atom >= 0:
                        Repeat(c.ToString());
                        break;
                    case '*' or '+' or '?' when !isEscaped && _dialect == RegexDialect.Extended:
                        throw new FormatException($"nothing stands before a {c}");
                    case '.' when !isEscaped:
                        AppendAtom(givenDialect == RegexDialect.Emacs ? AnyOfLine : AnyCharacter);
                        break;
                    case '[' when !isEscaped:
                        AppendSet();
                        break;
                    case '^' when !isEscaped && (_dialect == RegexDialect.Extended || IsAtBeginning(_at - 1)):
                        AppendAssertion(@"\A");
                        break;
                    case '$' when !isEscaped && (_dialect == RegexDialect.Extended || IsAtEnd()):
                        AppendAssertion(@"\z");
                        break;
                    case >= '1' and <= '9' when isEscaped:
                        if (c - '0' > _groups)
                        {
                            throw new FormatException($@"\{c} refers to a group that is not there");
                        }
                        NeedsBacktracking = true;
                        AppendAtom($@"(?:\{c})");
                        break;
                    case 'w' or 'W' or 's' or 'S' when isEscaped:
                        AppendAtom($@"\{c}");
                        break;
                    case 'b' or 'B' when isEscaped:
                        AppendAssertion($@"\{c}");
                        break;
                    case '<' when isEscaped:
                        NeedsBacktracking = true;
                        AppendAssertion(@"\b(?=\w)");
                        break;
                    case '>' when isEscaped:
                        NeedsBacktracking = true;
                        AppendAssertion(@"\b(?<=\w)");
                        break;
                    case '`' when isEscaped:
                        AppendAssertion(@"\A");
                        break;
                    case '\'' when isEscaped:
                        AppendAssertion(@"\z");
                        break;
                    default:
                        AppendLiteral(c);
                        break;
                }
            }
            return _depth == 0 ? _to.ToString() : throw new FormatException("a group does not end");
        }

        private void AppendAtom(string atom)
        {
            _atom = _to.Length;
            _to.Append(atom);
        }

        private void AppendAssertion(string assertion)
        {
            _to.Append(assertion);
            _atom = -1;
        }

        private void AppendLiteral(char c)
        {
            if (char.IsHighSurrogate(c) && _at < pattern.Length && char.IsLowSurrogate(pattern[_at]))
            {
                AppendAtom($"(?:{Escaped(c)}{Escaped(pattern[_at++])})");
            }
            else
            {
                AppendAtom(Escaped(c));
            }
        }

        // The group keeps a second repeat from being read as "lazy" or "possessive".
        private readonly void Repeat(string how)
        {
            _to.Insert(_atom, "(?:").Append(')').Append(how);
            _to.Insert(_atom, "(?:").Append(')');
        }

        private void AppendInterval()
        {
            string closing = _dialect == RegexDialect.Extended ? "}" : @"\}";
            int end = pattern.IndexOf(closing, _at, StringComparison.Ordinal);
            if (end < 0)
            {
                throw new FormatException("an interval does not end");
            }
            string[] bounds = pattern[_at..end].Split(',');
            int[] numbers = [.. bounds.Select(bound => bound == "" ? -1
                : int.TryParse(bound, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= MaxRepeats ? number
                : throw new FormatException($"'{bound}' is no bound of an interval"))];
            _at = end + closing.Length;
            int least = Math.Max(0, numbers[0]);
            if (numbers.Length > 2 || (numbers.Length == 1 && numbers[0] < 0) || (numbers.Length == 2 && numbers[1] >= 0 && numbers[1] < least))
            {
                throw new FormatException("an interval is not of the form {N}, {N,} or {N,M}");
            }
            Repeat(numbers.Length == 1 ? $"{{{least}}}" : numbers[1] < 0 ? $"{{{least},}}" : $"{{{least},{numbers[1]}}}");
        }

        private void AppendSet()
        {
            bool isNegated = _at < pattern.Length && pattern[_at] == '^';
            _at += isNegated ? 1 : 0;
            var set = new StringBuilder();
            List<string> pairs = [];
            for (bool isFirst = true; ; isFirst = false)
            {
                if (_at >= pattern.Length)
                {
                    throw new FormatException("a [ has no ] behind it");
                }
                if (pattern[_at] == ']' && !isFirst)
                {
                    break;
                }
                if (_dialect != RegexDialect.Emacs && TryTakeClass(out string? members))
                {
                    set.Append(members);
                    continue;
                }
                string first = TakeMember();
                if (_at + 1 < pattern.Length && pattern[_at] == '-' && pattern[_at + 1] != ']')
                {
                    _at++;
                    string last = TakeMember();
                    if (first.Length > 1 || last.Length > 1)
                    {
                        throw new FormatException("a range in brackets goes beyond U+FFFF");
                    }
                    if (first[0] <= last[0])
                    {
                        set.Append(Escaped(first[0])).Append('-').Append(Escaped(last[0]));
                    }
                    else if (_dialect != RegexDialect.Emacs)
                    {
                        throw new FormatException($"the range '{first}-{last}' is backwards");
                    }
                }
                else if (first.Length > 1)
                {
                    pairs.Add(Escaped(first[0]) + Escaped(first[1]));
                }
                else
                {
                    set.Append(Escaped(first[0]));
                }
            }
            _at++;
            if (isNegated && pairs.Count > 0)
            {
                throw new FormatException("a set of all but some characters has one beyond U+FFFF");
            }
            AppendAtom(isNegated
                ? $@"(?:[^{set}\uD800-\uDBFF]|[\uD800-\uDBFF][\uDC00-\uDFFF])"
                : $"(?:{string.Join('|', [.. pairs, set.Length > 0 ? $"[{set}]" : @"[^\s\S]"])})");
        }

        private bool TryTakeClass(out string? members)
        {
            members = null;
            if (string.CompareOrdinal(pattern, _at, "[:", 0, 2) != 0 || pattern.IndexOf(":]", _at + 2, StringComparison.Ordinal) is not (>= 0 and int end))
            {
                return false;
            }
            string name = pattern[(_at + 2)..end];
            _at = end + 2;
            members = name switch
            {
                "alnum" => @"\p{L}\p{Nd}",
                "alpha" => @"\p{L}",
                "blank" => @" \t",
                "cntrl" => @"\p{Cc}",
                "digit" => "0-9",
                "graph" => @"!-~\u00A1-\uD7FF\uE000-\uFFFF",
                "lower" => @"\p{Ll}",
                "print" => @" -~\u00A0-\uD7FF\uE000-\uFFFF",
                "punct" => @"\p{P}\p{S}",
                "space" => @"\s",
                "upper" => @"\p{Lu}",
                "xdigit" => "0-9A-Fa-f",
                _ => throw new FormatException($"'[:{name}:]' is no class of characters"),
            };
            return true;
        }

        private string TakeMember()
        {
            if (_at >= pattern.Length)
            {
                throw new FormatException("a [ has no ] behind it");
            }
            char c = pattern[_at++];
            return char.IsHighSurrogate(c) && _at < pattern.Length && char.IsLowSurrogate(pattern[_at]) ? $"{c}{pattern[_at++]}" : c.ToString();
        }

        // In the dialects in which ^ and $ are special only there.
        private readonly bool IsAtBeginning(int at)
            => at == 0 || (at >= 2 && pattern[at - 2] == '\\' && pattern[at - 1] is '(' or '|' && (at < 3 || pattern[at - 3] != '\\'));

        private readonly bool IsAtEnd()
            => _at == pattern.Length || (_at + 1 < pattern.Length && pattern[_at] == '\\' && pattern[_at + 1] is ')' or '|');

        private static string Escaped(char c) => char.IsAsciiLetterOrDigit(c) ? c.ToString() : $@"\u{(int)c:X4}";
    }
}
