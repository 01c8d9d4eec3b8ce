using System.CommandLine;
using LazyMount.Cli;

namespace LazyMount.Commands;

/// <summary>`lazymount completion SHELL` writes the script that a shell needs; `lazymount complete`, which is hidden, is what it asks.</summary>
internal static class CompletionCommand
{
    public static Command Create(CommandHost host)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish" };
        var verb = new Verb("completion", "Write the script that completes command lines in a shell.",
            """
            lazymount completion bash > ~/.local/share/bash-completion/completions/lazymount
            lazymount completion zsh > ~/.zfunc/_lazymount
            lazymount completion fish > ~/.config/fish/completions/lazymount.fish
            """)
        { shell };
        verb.SetAction(parsed =>
        {
            string name = parsed.GetRequiredValue(shell);
            host.Output.WriteLine(CompletionScripts.Of(name) ?? throw new UsageException($"there are no completions for '{name}'; the shells are {string.Join(", ", CompletionScripts.Shells)}"));
            return ExitCode.Done;
        });
        return verb;
    }

    public static Command CreateHidden(CommandHost host, Command root)
    {
        var words = new Argument<string[]>("WORD") { Arity = ArgumentArity.ZeroOrMore };
        var describe = new Option<bool>("--describe");
        var verb = new Verb("complete", "Complete the last word of a command line.", "") { words, describe };
        verb.Hidden = true;
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            foreach (Completion each in await new Completions(root, settings).CompleteAsync(parsed.GetValue(words) ?? [], cancellationToken))
            {
                host.Output.WriteName(ImagePathText.Encode(each.Text));
                host.Output.WriteLine(parsed.GetValue(describe) && each.Description.Length > 0 ? "\t" + each.Description : "");
            }
            return ExitCode.Done;
        });
        return verb;
    }
}
