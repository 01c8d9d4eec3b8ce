using System.CommandLine;

namespace LazyMount.Finding;

/// <summary>
/// Tells the words of an expression from the options of the program, before the parser of the command line, which takes single-dash words for
/// clusters of options. Before IMAGE, words with a dash are our options; behind it, words with one dash, and <c>( ) ! ,</c>, are the
/// expression's, and words with two dashes still ours.
/// </summary>
internal static class FindWords
{
    /// <summary>The arguments in an order that the parser reads rightly: our options first, and all else behind "--".</summary>
    /// <param name="root">The program.</param>
    /// <param name="find">The command, below <paramref name="root"/>.</param>
    /// <param name="arguments">The arguments of the program.</param>
    public static IReadOnlyList<string> Arrange(Command root, Command find, IReadOnlyList<string> arguments)
    {
        int start = EndOfCommandName(root, find, arguments), at = start;
        if (start == 0)
        {
            return arguments;
        }
        List<string> options = [], words = [], follow = [];
        bool isBehindDashes = false;
        while (at < arguments.Count)
        {
            string word = arguments[at++];
            if (!isBehindDashes && word == "--")
            {
                isBehindDashes = true;
            }
            else if (!isBehindDashes && IsOurs(word, words.Count == 0))
            {
                options.Add(word);
                if (at < arguments.Count && TakesValue(find, word, arguments[at]))
                {
                    options.Add(arguments[at++]);
                }
            }
            else if (words.Count == 0 && !isBehindDashes && IsFollow(word))
            {
                follow.Add(word);
            }
            else
            {
                words.Add(word);
                for (int left = words.Count > 1 ? FindParser.ArgumentsOf(word) : 0; left > 0 && at < arguments.Count; left--)
                {
                    words.Add(arguments[at++]);
                }
            }
        }
        IEnumerable<string> before = arguments.Take(start).Concat(options);
        return [.. words.Count == 0 ? before : before.Append("--").Append(words[0]).Concat(follow).Concat(words.Skip(1))];
    }

    /// <summary>Whether a word behind IMAGE ends the paths and begins the expression.</summary>
    public static bool BeginsExpression(string word) => word is ['-', _, ..] or "(" or ")" or "!" or ",";

    /// <summary>Words that stand before the paths, as with find(1); before IMAGE too, where users of find(1) write them.</summary>
    public static bool IsFollow(string word) => word is "-H" or "-P";

    // Behind the command's name, or 0 when the arguments name another command.
    private static int EndOfCommandName(Command root, Command find, IReadOnlyList<string> arguments)
    {
        for (int i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] == find.Name && root.Parse([.. arguments.Take(i + 1)]).CommandResult.Command == find)
            {
                return i + 1;
            }
        }
        return 0;
    }

    private static bool IsOurs(string word, bool isBeforeImage)
        => word is ['-', '-', _, ..] || (isBeforeImage && word is ['-', _, ..] && !IsFollow(word));

    private static bool TakesValue(Command find, string word, string next)
    {
        for (Command? command = find; command is not null; command = command.Parents.OfType<Command>().FirstOrDefault())
        {
            foreach (Option option in command.Options)
            {
                if (option.Name == word || option.Aliases.Contains(word))
                {
                    return option.Arity.MinimumNumberOfValues > 0 || (option.Arity.MaximumNumberOfValues > 0 && bool.TryParse(next, out _));
                }
            }
        }
        return false;
    }
}
