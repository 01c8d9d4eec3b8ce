using System.CommandLine;

namespace LazyMount.Cli;

/// <summary>Commands that help shows together.</summary>
/// <param name="Title">What they are for.</param>
/// <param name="Commands">In the order in which they are shown.</param>
internal sealed record CommandGroup(string Title, IReadOnlyList<Command> Commands);
