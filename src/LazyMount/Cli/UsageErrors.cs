using System.CommandLine;
using System.CommandLine.Parsing;

namespace LazyMount.Cli;

/// <summary>Says in one clause what is wrong with a command line.</summary>
internal static class UsageErrors
{
    /// <summary>The clause and where to read on, or null when the command line can be run.</summary>
    public static string? Of(ParseResult parsed, IReadOnlyList<string> arguments)
    {
        Command command = parsed.CommandResult.Command;
        string help = $"; see '{Verb.FullNameOf(command)} --help'";
        // Words that name no command are wrong even if help is asked for: it would be the help of another command.
        if (command.Subcommands.Count > 0 && parsed.UnmatchedTokens is [var word, ..] && !word.StartsWith('-'))
        {
            string near = Spelling.Suggest(word, command.Subcommands.Where(each => !each.Hidden).SelectMany(each => each.Aliases.Prepend(each.Name)));
            return $"unknown command '{word}'{(near.Length > 0 ? near : help)}";
        }
        if (parsed.Action is System.CommandLine.Invocation.SynchronousCommandLineAction { ClearsParseErrors: true })
        {
            return null;
        }
        if (UnknownOption(parsed) is { } unknown)
        {
            string near = Spelling.Suggest(unknown, OptionsOf(command).Where(option => !option.Hidden).Select(option => option.Name));
            return $"unknown option '{unknown}'{(near.Length > 0 ? near : help)}";
        }
        if (FlagWithValue(command, arguments) is { } flag)
        {
            return $"option '{flag}' takes no value{help}";
        }
        return parsed.Errors.Count == 0 ? null : Clause(parsed, command) + help;
    }

    /// <summary>The options of a command, with those of the commands above that it accepts.</summary>
    public static IEnumerable<Option> OptionsOf(Command command)
    {
        IEnumerable<Option> options = command.Options;
        for (Command? above = command.Parents.OfType<Command>().FirstOrDefault(); above is not null; above = above.Parents.OfType<Command>().FirstOrDefault())
        {
            options = options.Concat(above.Options.Where(option => option.Recursive));
        }
        return options;
    }

    private static string Clause(ParseResult parsed, Command command)
    {
        if (command.Subcommands.Count > 0)
        {
            return "a command is missing";
        }
        if (parsed.UnmatchedTokens is [string word, ..])
        {
            return $"one argument too many: '{word}'";
        }
        foreach (OptionResult option in OptionsOf(command).Select(parsed.GetResult).OfType<OptionResult>().Where(option => !option.Implicit))
        {
            if (option.Tokens.Count < option.Option.Arity.MinimumNumberOfValues)
            {
                return $"option '{option.IdentifierToken?.Value ?? option.Option.Name}' needs a value: {option.Option.HelpName}";
            }
            if (option.Tokens.Count > option.Option.Arity.MaximumNumberOfValues)
            {
                return $"option '{option.Option.Name}' is given more than once";
            }
        }
        string[] missing = [.. command.Arguments.Where(argument => argument.Arity.MinimumNumberOfValues > (parsed.GetResult(argument)?.Tokens.Count ?? 0)).Select(argument => argument.Name)];
        return missing.Length > 0 ? $"'{Verb.FullNameOf(command)}' needs {string.Join(" and ", missing)}" : parsed.Errors[0].Message.TrimEnd('.');
    }

    // The parser takes an option that it does not know for an argument, if there is room for one.
    private static string? UnknownOption(ParseResult parsed)
    {
        Token? before = null;
        foreach (Token token in parsed.Tokens.TakeWhile(token => token.Type != TokenType.DoubleDash))
        {
            if (token is { Type: TokenType.Argument, Value: ['-', _, ..] } && before is not { Type: TokenType.Option })
            {
                return token.Value;
            }
            before = token;
        }
        return null;
    }

    // "--json=maybe" or "-lh=3": the parser takes the value for the next argument.
    private static string? FlagWithValue(Command command, IReadOnlyList<string> arguments)
    {
        string[] flags = [.. OptionsOf(command).Where(option => option.Arity.MaximumNumberOfValues == 0).SelectMany(option => option.Aliases.Append(option.Name))];
        foreach (string argument in arguments.TakeWhile(argument => argument != "--"))
        {
            if (argument is ['-', _, ..] && argument.IndexOf('=', StringComparison.Ordinal) is > 1 and int equals)
            {
                string[] given = argument[1] == '-' ? [argument[..equals]] : [.. argument[1..equals].Select(letter => $"-{letter}")];
                if (given.All(flags.Contains))
                {
                    return given[^1];
                }
            }
        }
        return null;
    }
}
