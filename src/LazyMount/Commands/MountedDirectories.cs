using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Fuse;

namespace LazyMount.Commands;

/// <summary>The arguments of a command that does something to mounts: directories, or <c>--all</c>.</summary>
/// <param name="description">Help of the directories.</param>
/// <param name="all">The option for all mounts.</param>
internal sealed class MountedDirectories(string description, Option<bool> all)
{
    private readonly Argument<string[]> _directories = new("DIR") { Description = description, Arity = ArgumentArity.ZeroOrMore };

    /// <summary>Adds the arguments to a command.</summary>
    public void AddTo(Command command)
    {
        command.Add(_directories);
        command.Add(all);
    }

    /// <summary>What the command is to do something to.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="of">The mount of a directory, whose path is as the mount table has it.</param>
    /// <param name="mounted">All mounts, for <c>--all</c>.</param>
    /// <exception cref="UsageException">Neither or both are given, or a directory is empty.</exception>
    public IEnumerable<T> Read<T>(ParseResult parsed, Func<string, T> of, Func<IEnumerable<T>> mounted)
    {
        string[] given = parsed.GetValue(_directories) ?? [];
        if (given.Contains(""))
        {
            throw new UsageException($"{parsed.CommandResult.Command.Name} needs a directory");
        }
        return parsed.GetValue(all) == given.Length > 0
            ? throw new UsageException($"{parsed.CommandResult.Command.Name} needs either directories or --all")
            : given.Length > 0 ? given.Select(directory => of(MountPoint.PathOf(directory))) : mounted();
    }
}
