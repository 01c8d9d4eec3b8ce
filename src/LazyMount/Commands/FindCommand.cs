using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Finding;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount find`: names of an image that pass tests, as find(1) shows them, without mounting.</summary>
internal static class FindCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        // FindWords has put paths and expression behind "--".
        var words = new Argument<string[]>("PATH… EXPRESSION") { Description = "Paths inside the image where the search starts [/], then tests and actions as of find(1) [-print]", Arity = ArgumentArity.ZeroOrMore };
        var json = Verb.JsonOption("an entry a line, if the expression has no action");
        var verb = new Verb("find", "Find files of an image by name, type, size, time, owner and more, without mounting it.",
            """
            lazymount find debian:12 /etc -name '*.conf' -size +4k
            lazymount find debian:12 -type f -perm -4000 -ls
            lazymount find debian:12 /usr '(' -name doc -o -name man ')' -prune -o -type f -printf '%s %p\n'
            lazymount find --layer -1 myapp -newer /etc/os-release -json | jq -r .path

            Tests: -name -iname -path -ipath -regex -iregex -lname -ilname PATTERN, -regextype TYPE, -type -xtype TYPES,
              -size [+-]N[cwbkMG], -empty, -perm [-/]MODE, -executable, -user -group NAME, -uid -gid -links -inum [+-]N,
              -nouser, -nogroup, -samefile PATH, -newer PATH, -newermt DATE, -mtime [+-]DAYS, -mmin [+-]MINUTES,
              -xattr (has extended attributes), -xattrname PATTERN, -true, -false
            Operators: ( ) ! -not -a -and -o -or ,
            Options: -maxdepth -mindepth N, -depth, -H (follow PATHs that are symbolic links)
            Actions: -print -print0 -ls -printf FORMAT -json -prune -quit
            Names of users and groups are the image's own; times are in UTC.
            """)
        { image, words, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string[] all = parsed.GetValue(words) ?? [];
            string[] paths = [.. all.TakeWhile(word => !FindWords.BeginsExpression(word))];
            FindPlan plan = FindParser.Parse(all[paths.Length..], DateTimeOffset.UtcNow, parsed.GetValue(json) ? FindActions.PrintJson : FindActions.Print);
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            int exitCode = ExitCode.Done;
            await plan.RunAsync(
                new FindRun(opened, host.Output),
                paths is [] ? ["/"u8.ToArray()] : [.. paths.Select(ImagePathText.Encode)],
                missing => exitCode = Math.Max(exitCode, host.Report(missing, settings)),
                cancellationToken);
            return exitCode;
        });
        return verb;
    }
}
