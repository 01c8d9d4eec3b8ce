using System.Globalization;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Output;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Finding;

/// <summary>Parses the words of a find expression, once, to a <see cref="FindPlan"/>. What is wrong with them is a <see cref="UsageException"/>.</summary>
internal sealed class FindParser
{
    private const int MaxNesting = 1000;
    private const int DaySeconds = 24 * 60 * 60;

    private delegate FindExpression Maker(FindParser parser, string word, string argument);

    // All words but those of the grammar, with the number of their arguments, 0 or 1.
    private static readonly Dictionary<string, (int Arguments, Maker Make)> s_words = new(StringComparer.Ordinal)
    {
        ["-name"] = (1, (p, _, pattern) => Name(pattern, ignoresCase: false)),
        ["-iname"] = (1, (p, _, pattern) => Name(pattern, ignoresCase: true)),
        ["-path"] = (1, (p, _, pattern) => WholePath(pattern, ignoresCase: false)),
        ["-wholename"] = (1, (p, _, pattern) => WholePath(pattern, ignoresCase: false)),
        ["-ipath"] = (1, (p, _, pattern) => WholePath(pattern, ignoresCase: true)),
        ["-iwholename"] = (1, (p, _, pattern) => WholePath(pattern, ignoresCase: true)),
        ["-lname"] = (1, (p, _, pattern) => LinkTarget(pattern, ignoresCase: false)),
        ["-ilname"] = (1, (p, _, pattern) => LinkTarget(pattern, ignoresCase: true)),
        ["-regex"] = (1, (p, word, pattern) => p.MatchesRegex(word, pattern, ignoresCase: false)),
        ["-iregex"] = (1, (p, word, pattern) => p.MatchesRegex(word, pattern, ignoresCase: true)),
        ["-regextype"] = (1, (p, word, name) => p.ChooseDialect(word, name)),
        ["-type"] = (1, (p, word, types) => Type(word, types, static run => run.Attributes.Mode)),
        ["-xtype"] = (1, (p, word, types) => Type(word, types, static run => run.Target(out _) is { } target ? run.Tree.Mode(target) : run.Attributes.Mode)),
        ["-size"] = (1, (p, word, size) => Size(word, size)),
        ["-empty"] = (0, (p, _, _) => new FindExpression.Test(IsEmpty)),
        ["-links"] = (1, (p, word, number) => Compare(word, number, static run => run.Attributes.LinkCount)),
        ["-inum"] = (1, (p, word, number) => Compare(word, number, static run => (long)run.Attributes.Inode)),
        ["-uid"] = (1, (p, word, number) => Compare(word, number, static run => run.Attributes.Uid)),
        ["-gid"] = (1, (p, word, number) => Compare(word, number, static run => run.Attributes.Gid)),
        ["-user"] = (1, (p, word, name) => p.User(word, name)),
        ["-group"] = (1, (p, word, name) => p.Group(word, name)),
        ["-nouser"] = (0, (p, _, _) => p.HasNoUser()),
        ["-nogroup"] = (0, (p, _, _) => p.HasNoGroup()),
        ["-perm"] = (1, (p, word, mode) => Permissions(word, mode)),
        ["-executable"] = (0, (p, _, _) => new FindExpression.Test(IsExecutable)),
        ["-samefile"] = (1, (p, _, path) => p.SameFile(path)),
        ["-xattr"] = (0, (p, _, _) => new FindExpression.Test(static run => run.Tree.WriteXattrNames(run.Node, default) > 0)),
        ["-xattrname"] = (1, (p, _, pattern) => HasXattr(pattern)),
        ["-newer"] = (1, (p, _, path) => p.Newer(path)),
        ["-anewer"] = (1, (p, _, path) => p.Newer(path)),
        ["-cnewer"] = (1, (p, _, path) => p.Newer(path)),
        ["-mtime"] = (1, (p, word, days) => p.Age(word, days, DaySeconds)),
        ["-atime"] = (1, (p, word, days) => p.Age(word, days, DaySeconds)),
        ["-ctime"] = (1, (p, word, days) => p.Age(word, days, DaySeconds)),
        ["-mmin"] = (1, (p, word, minutes) => p.Age(word, minutes, 60)),
        ["-amin"] = (1, (p, word, minutes) => p.Age(word, minutes, 60)),
        ["-cmin"] = (1, (p, word, minutes) => p.Age(word, minutes, 60)),
        ["-true"] = (0, (p, _, _) => True()),
        ["-false"] = (0, (p, _, _) => new FindExpression.Test(static _ => false)),

        ["-maxdepth"] = (1, (p, word, depth) => p.Set(plan => plan.MostDepth = ParseDepth(word, depth))),
        ["-mindepth"] = (1, (p, word, depth) => p.Set(plan => plan.LeastDepth = ParseDepth(word, depth))),
        ["-depth"] = (0, (p, _, _) => p.Set(static plan => plan.IsDepthFirst = true)),
        ["-d"] = (0, (p, _, _) => p.Set(static plan => plan.IsDepthFirst = true)),
        ["-H"] = (0, (p, _, _) => p.Set(static plan => plan.FollowsStarts = true)),
        ["-P"] = (0, (p, _, _) => p.Set(static plan => plan.FollowsStarts = false)),
        // What they ask for is so in an image, or is nothing.
        ["-xdev"] = (0, (p, _, _) => True()),
        ["-mount"] = (0, (p, _, _) => True()),
        ["-noleaf"] = (0, (p, _, _) => True()),
        ["-ignore_readdir_race"] = (0, (p, _, _) => True()),
        ["-noignore_readdir_race"] = (0, (p, _, _) => True()),
        ["-warn"] = (0, (p, _, _) => True()),
        ["-nowarn"] = (0, (p, _, _) => True()),

        ["-print"] = (0, (p, _, _) => p.Act(FindActions.Print)),
        ["-print0"] = (0, (p, _, _) => p.Act(FindActions.PrintZero)),
        ["-printf"] = (1, (p, word, format) => p.Printf(word, format)),
        ["-ls"] = (0, (p, _, _) => p.Ls()),
        ["-json"] = (0, (p, _, _) => p.Act(FindActions.PrintJson)),
        ["-prune"] = (0, (p, _, _) => new FindExpression.Test(static run => run.IsPruned = true)),
        ["-quit"] = (0, (p, _, _) => new FindExpression.Test(static run => !(run.IsEnded = true))),
    };

    private static readonly Dictionary<string, string> s_refused = new(StringComparer.Ordinal)
    {
        ["-exec"] = Starts,
        ["-execdir"] = Starts,
        ["-ok"] = Starts,
        ["-okdir"] = Starts,
        ["-delete"] = "an image cannot be changed; unpack it with 'lazymount unpack' and delete there",
        ["-fprint"] = Writes,
        ["-fprint0"] = Writes,
        ["-fprintf"] = Writes,
        ["-fls"] = Writes,
        ["-L"] = Follows,
        ["-follow"] = Follows,
        ["-daystart"] = "times are compared with now; use -newermt DATE",
        ["-files0-from"] = "starting points are given on the command line",
        ["-fstype"] = "an image has no file systems of its own",
        ["-context"] = "use -xattrname security.selinux",
        ["-readable"] = "it depends on who asks; use -perm",
        ["-writable"] = "it depends on who asks; use -perm",
        ["-used"] = "an image does not say when a file was read",
    };

    private const string Starts = "find starts no programs; mount the image and use find(1) there, or pipe -print0 to 'xargs -0 lazymount cat IMAGE'";
    private const string Writes = "find writes to standard output only; redirect it to a file";
    private const string Follows = "symbolic links are not followed; use -xtype to test their targets, or give the paths that they lead to";

    private readonly IReadOnlyList<string> _words;
    private readonly DateTimeOffset _now;
    private readonly FindPlan _plan = new();
    private RegexDialect _dialect = RegexDialect.Emacs;
    private bool _acts;
    private int _at;

    private FindParser(IReadOnlyList<string> words, DateTimeOffset now) => (_words, _now) = (words, now);

    /// <summary>How many words behind a word are its arguments.</summary>
    public static int ArgumentsOf(string word)
        => IsNewerXY(word) || s_words.TryGetValue(word, out (int Arguments, Maker) found) && found.Arguments > 0 ? 1 : 0;

    /// <summary>Parses an expression.</summary>
    /// <param name="words">Its words; none is "true".</param>
    /// <param name="now">What ages are counted from.</param>
    /// <param name="defaultAction">What is done with the names of which the expression holds, if it has no action itself.</param>
    public static FindPlan Parse(IReadOnlyList<string> words, DateTimeOffset now, Action<FindRun> defaultAction)
    {
        var parser = new FindParser(words, now);
        FindExpression expression = words.Count == 0 ? True() : parser.ParseSequence(0);
        if (parser._at < words.Count)
        {
            throw Wrong(words[parser._at] == ")" ? "a ')' has no '(' before it" : $"'{words[parser._at]}' is no test or action");
        }
        parser._plan.Expression = parser._acts ? expression : new FindExpression.And([expression, parser.Act(defaultAction)]);
        return parser._plan;
    }

    private static UsageException Wrong(string clause) => new($"{CommandOutput.Displayable(clause)}; see 'lazymount find --help'");

    private string? Next => _at < _words.Count ? _words[_at] : null;

    private FindExpression ParseSequence(int nesting)
    {
        List<FindExpression> parts = [ParseOr(nesting)];
        while (Next == ",")
        {
            _at++;
            parts.Add(ParseOr(nesting));
        }
        return parts is [FindExpression only] ? only : new FindExpression.Sequence(parts);
    }

    private FindExpression ParseOr(int nesting)
    {
        List<FindExpression> parts = [ParseAnd(nesting)];
        while (Next is "-o" or "-or")
        {
            _at++;
            parts.Add(ParseAnd(nesting));
        }
        return parts is [FindExpression only] ? only : new FindExpression.Or(parts);
    }

    private FindExpression ParseAnd(int nesting)
    {
        List<FindExpression> parts = [ParsePart(nesting)];
        while (Next is not (null or "," or "-o" or "-or" or ")"))
        {
            _at += Next is "-a" or "-and" ? 1 : 0;
            parts.Add(ParsePart(nesting));
        }
        return parts is [FindExpression only] ? only : new FindExpression.And(parts);
    }

    private FindExpression ParsePart(int nesting)
    {
        bool isNegated = false;
        while (Next is "!" or "-not")
        {
            isNegated = !isNegated;
            _at++;
        }
        FindExpression part = Next == "(" ? ParseGroup(nesting) : ParseWord();
        return isNegated ? new FindExpression.Not(part) : part;
    }

    private FindExpression ParseGroup(int nesting)
    {
        if (nesting >= MaxNesting)
        {
            throw Wrong($"parentheses are nested more than {MaxNesting} times");
        }
        _at++;
        if (Next == ")")
        {
            throw Wrong("nothing is between '(' and ')'");
        }
        FindExpression group = ParseSequence(nesting + 1);
        if (Next != ")")
        {
            throw Wrong(Next is null ? "a '(' has no ')' behind it" : $"'{Next}' is no test or action");
        }
        _at++;
        return group;
    }

    private FindExpression ParseWord()
    {
        string? word = Next;
        if (word is null or "," or "-o" or "-or" or "-a" or "-and" or ")")
        {
            string before = _at == 0 ? "at the beginning" : $"behind '{_words[_at - 1]}'";
            throw Wrong(word is null ? $"a test or an action is missing {before}" : $"a test or an action is missing {before}, before '{word}'");
        }
        _at++;
        if (s_refused.TryGetValue(word, out string? why))
        {
            throw new UsageException($"cannot use {word}: {why}");
        }
        bool isNewer = IsNewerXY(word);
        if (!isNewer && !s_words.ContainsKey(word))
        {
            throw Wrong(word is ['-', _, ..] ? $"unknown test or action '{word}'" : $"the path '{word}' stands behind the expression; paths come first");
        }
        int arguments = ArgumentsOf(word);
        if (arguments > 0 && _at == _words.Count)
        {
            throw Wrong($"{word} needs an argument");
        }
        string argument = arguments > 0 ? _words[_at++] : "";
        return isNewer ? NewerXY(word, argument) : s_words[word].Make(this, word, argument);
    }

    private static FindExpression.Test True() => new(static _ => true);

    private FindExpression.Test Set(Action<FindPlan> set)
    {
        set(_plan);
        return True();
    }

    private FindExpression.Test Act(Action<FindRun> action)
    {
        _acts = true;
        return new FindExpression.Test(run =>
        {
            action(run);
            return true;
        });
    }

    private static FindExpression.Test Name(string pattern, bool ignoresCase)
    {
        var glob = new GlobPattern(ImagePathText.Encode(pattern), ignoresCase);
        return new FindExpression.Test(run => glob.Matches(run.Name));
    }

    private static FindExpression.Test WholePath(string pattern, bool ignoresCase)
    {
        var glob = new GlobPattern(ImagePathText.Encode(pattern), ignoresCase);
        return new FindExpression.Test(run => glob.Matches(run.Path));
    }

    private static FindExpression.Test LinkTarget(string pattern, bool ignoresCase)
    {
        var glob = new GlobPattern(ImagePathText.Encode(pattern), ignoresCase);
        return new FindExpression.Test(run => FileMode.IsSymlink(run.Attributes.Mode) && glob.Matches(run.Tree.LinkTarget(run.Node)));
    }

    private static FindExpression.Test HasXattr(string pattern)
    {
        var glob = new GlobPattern(ImagePathText.Encode(pattern), ignoresCase: false);
        return new FindExpression.Test(run =>
        {
            foreach ((byte[] name, _) in run.Tree.XattrsOf(run.Node))
            {
                if (glob.Matches(name))
                {
                    return true;
                }
            }
            return false;
        });
    }

    private FindExpression.Test MatchesRegex(string word, string pattern, bool ignoresCase)
    {
        try
        {
            var regex = new PathRegex(pattern, _dialect, ignoresCase);
            return new FindExpression.Test(run => regex.Matches(run.Path));
        }
        catch (FormatException e)
        {
            throw new UsageException($"{word} '{CommandOutput.Displayable(pattern)}' is no regular expression: {CommandOutput.Displayable(e.Message)}", e);
        }
    }

    private FindExpression.Test ChooseDialect(string word, string name)
    {
        if (!PathRegex.Dialects.TryGetValue(name, out _dialect))
        {
            throw new UsageException($"{word} '{CommandOutput.Displayable(name)}' is none of {string.Join(", ", PathRegex.Dialects.Keys)}");
        }
        return True();
    }

    private static FindExpression.Test Type(string word, string types, Func<FindRun, uint> modeOf)
    {
        string[] letters = types.Split(',');
        if (letters.FirstOrDefault(letter => letter is not ("b" or "c" or "d" or "p" or "f" or "l" or "s" or "D")) is { } wrong)
        {
            throw Wrong($"{word} '{types}' has the type '{wrong}'; types are b, c, d, f, l, p and s, with commas between them");
        }
        return new FindExpression.Test(run => letters.Contains(FindActions.TypeLetter(modeOf(run)).ToString()));
    }

    private static FindExpression.Test Size(string word, string text)
    {
        const string Units = "cwbkMG";
        long[] bytes = [1, 2, 512, 1 << 10, 1 << 20, 1 << 30];
        int unit = text.Length > 0 ? Units.IndexOf(text[^1], StringComparison.Ordinal) : -1;
        long block = unit < 0 ? 512 : bytes[unit];
        (char sign, long number) = ParseNumber(word, unit < 0 ? text : text[..^1], "a size, such as +10M, -4k or 100c");
        return new FindExpression.Test(run => Compares(sign, (run.Attributes.Size / block) + (run.Attributes.Size % block == 0 ? 0 : 1), number));
    }

    private static FindExpression.Test Compare(string word, string text, Func<FindRun, long> valueOf)
    {
        (char sign, long number) = ParseNumber(word, text, "a number, such as 5, +5 or -5");
        return new FindExpression.Test(run => Compares(sign, valueOf(run), number));
    }

    private static (char Sign, long Number) ParseNumber(string word, string text, string what)
    {
        char sign = text is ['+' or '-', ..] ? text[0] : '=';
        return long.TryParse(sign == '=' ? text : text[1..], NumberStyles.None, CultureInfo.InvariantCulture, out long number)
            ? (sign, number)
            : throw Wrong($"{word} '{text}' is not {what}");
    }

    private static bool Compares(char sign, long value, long number) => sign switch { '+' => value > number, '-' => value < number, _ => value == number };

    private static int ParseDepth(string word, string text)
        => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int depth) ? depth : throw Wrong($"{word} '{text}' is not a number from 0");

    private FindExpression.Test User(string word, string name)
    {
        if (uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint number))
        {
            return new FindExpression.Test(run => run.Attributes.Uid == number);
        }
        _plan.NeedsUsers = true;
        uint? wanted = null;
        _plan.Prepare(run => wanted = run.Users!.NumberOf(name) ?? throw new CommandException($"cannot use {word} '{name}': the image's /etc/passwd has no such user; use -uid with a number"));
        return new FindExpression.Test(run => run.Attributes.Uid == wanted);
    }

    private FindExpression.Test Group(string word, string name)
    {
        if (uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint number))
        {
            return new FindExpression.Test(run => run.Attributes.Gid == number);
        }
        _plan.NeedsGroups = true;
        uint? wanted = null;
        _plan.Prepare(run => wanted = run.Groups!.NumberOf(name) ?? throw new CommandException($"cannot use {word} '{name}': the image's /etc/group has no such group; use -gid with a number"));
        return new FindExpression.Test(run => run.Attributes.Gid == wanted);
    }

    private FindExpression.Test HasNoUser()
    {
        _plan.NeedsUsers = true;
        return new FindExpression.Test(run => run.Users!.NameOf(run.Attributes.Uid).IsEmpty);
    }

    private FindExpression.Test HasNoGroup()
    {
        _plan.NeedsGroups = true;
        return new FindExpression.Test(run => run.Groups!.NameOf(run.Attributes.Gid).IsEmpty);
    }

    private static FindExpression.Test Permissions(string word, string text)
    {
        char how = text is ['-' or '/', ..] ? text[0] : '=';
        if (!PermissionText.TryParse(how == '=' ? text : text[1..], out uint file, out uint directory))
        {
            throw Wrong($"{word} '{text}' is no mode, such as 644, -u+w or /222");
        }
        return new FindExpression.Test(run =>
        {
            uint wanted = FileMode.IsDirectory(run.Attributes.Mode) ? directory : file;
            uint has = PermissionText.Of(run.Attributes.Mode);
            return how switch { '-' => (has & wanted) == wanted, '/' => wanted == 0 || (has & wanted) != 0, _ => has == wanted };
        });
    }

    private FindExpression.Test SameFile(string path)
    {
        ulong node = 0;
        _plan.Prepare(run => node = run.Find(ImagePathText.Encode(path), _plan.FollowsStarts).Node);
        return new FindExpression.Test(run => run.Node == node);
    }

    private static bool IsEmpty(FindRun run)
    {
        if (!FileMode.IsDirectory(run.Attributes.Mode))
        {
            return FileMode.IsRegular(run.Attributes.Mode) && run.Attributes.Size == 0;
        }
        for (DirectoryCursor names = run.Tree.ReadDirectory(run.Node); names.MoveNext();)
        {
            if (!names.IsDots)
            {
                return false;
            }
        }
        return true;
    }

    // As access(2) says it to root.
    private static bool IsExecutable(FindRun run)
        => run.Target(out _) is { } target && run.Tree.Mode(target) is var mode && (FileMode.IsDirectory(mode) || (mode & 0x49) != 0);

    private FindExpression.Test Newer(string path)
    {
        (long Seconds, long Nanoseconds) reference = default;
        _plan.Prepare(run =>
        {
            NodeAttributes attributes = run.Tree.Attributes(run.Find(ImagePathText.Encode(path), _plan.FollowsStarts).Node);
            reference = (attributes.MtimeSeconds, attributes.MtimeNanoseconds);
        });
        return new FindExpression.Test(run => TimeOf(run).CompareTo(reference) > 0);
    }

    // -newerXY: an image has one time of each file, which a mount shows as the times of access and change too.
    private static bool IsNewerXY(string word) => word.Length == 8 && word.StartsWith("-newer", StringComparison.Ordinal);

    private FindExpression.Test NewerXY(string word, string argument)
    {
        if (word[6] is not ('a' or 'c' or 'm') || word[7] is not ('a' or 'c' or 'm' or 't'))
        {
            throw Wrong(word.Contains('B', StringComparison.Ordinal) ? $"cannot use {word}: an image does not say when a file was made" : $"unknown test or action '{word}'");
        }
        if (word[7] != 't')
        {
            return Newer(argument);
        }
        (long, long) reference = PointInTime.TryParse(argument, _now, out (long Seconds, long Nanoseconds) parsed)
            ? parsed
            : throw Wrong($"{word} '{argument}' is no time, such as 2026-01-31, '2026-01-31 12:00', @1700000000, yesterday or '3 days ago'");
        return new FindExpression.Test(run => TimeOf(run).CompareTo(reference) > 0);
    }

    private static (long Seconds, long Nanoseconds) TimeOf(FindRun run) => (run.Attributes.MtimeSeconds, run.Attributes.MtimeNanoseconds);

    // GNU find's arithmetic. An age is counted in whole units, and -mtime -N in addition begins a second early.
    private FindExpression.Test Age(string word, string text, int unit)
    {
        char sign = text is ['+' or '-', ..] ? text[0] : '=';
        if (!decimal.TryParse(sign == '=' ? text : text[1..], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number) || number > int.MaxValue)
        {
            throw Wrong($"{word} '{text}' is not a number, such as 5, +5 or -5");
        }
        decimal now = PointInTime.ToDecimal(_now);
        decimal origin = unit == DaySeconds ? now - (sign == '-' ? 1 : DaySeconds) : now;
        decimal reference = origin - (number * unit);
        return new FindExpression.Test(run =>
        {
            decimal time = run.Attributes.MtimeSeconds + (run.Attributes.MtimeNanoseconds / 1_000_000_000m);
            return sign switch { '-' => time > reference, '+' => time < reference, _ => time > reference && time <= reference + unit };
        });
    }

    private FindExpression.Test Printf(string word, string format)
    {
        PrintFormat parsed;
        try
        {
            parsed = PrintFormat.Parse(ImagePathText.Encode(format));
        }
        catch (FormatException e)
        {
            throw new UsageException($"{word} '{CommandOutput.Displayable(format)}' is no format: {CommandOutput.Displayable(e.Message)}", e);
        }
        _plan.NeedsUsers |= parsed.NeedsUsers;
        _plan.NeedsGroups |= parsed.NeedsGroups;
        return Act(parsed.Print);
    }

    private FindExpression.Test Ls()
    {
        _plan.NeedsUsers = _plan.NeedsGroups = true;
        return Act(new FindLs(_now).Print);
    }
}
