using System.CommandLine;
using LazyMount.Cli;
using LazyMount.Finding;
using LazyMount.Output;
using LazyMount.Trees;

namespace LazyMount.Commands;

/// <summary>`lazymount find`: names of an image that pass tests, as find(1) shows them, without mounting.</summary>
internal static class FindCommand
{
    private const string Description =
        """
        Find files of an image by name, type, size, time, owner and more. The expression is find(1)'s. Options of lazymount stand before IMAGE, or have two dashes. Names of users and groups are read from the image's /etc/passwd and /etc/group; times are in UTC.

        Tests:
          -name -iname -path -ipath -lname -ilname -xattrname PATTERN
          -regex -iregex EXPRESSION, -regextype emacs|posix-basic|posix-extended
          -type -xtype b,c,d,f,l,p    -size [+-]N[cwbkMG]    -empty
          -perm [-/]MODE    -executable    -links -inum -uid -gid [+-]N
          -user -group NAME    -nouser    -nogroup    -samefile PATH
          -newer PATH    -newermt DATE    -mtime [+-]DAYS    -mmin [+-]MINUTES
          -xattr (the file has extended attributes)    -true    -false

        Operators: ( ) ! -not -a -and -o -or and the comma.

        Where to look:
          -maxdepth N   -mindepth N   -depth   -H (follow PATHs that are links)

        Actions:
          -print -print0 -ls -printf FORMAT -json -prune -quit

        Programs are not started (-exec), and nothing is deleted.
        """;

    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        // FindWords has put paths and expression behind "--".
        var words = new Argument<string[]>("PATH|EXPRESSION") { Description = "Paths inside the image [/], then tests and actions [-print]", Arity = ArgumentArity.ZeroOrMore };
        var json = JsonOption.Lines(() => ListingJson.Default.EntryListing, "; not if the expression has an action");
        var verb = new Verb("find", Description,
            """
            lazymount find debian:12 /etc -name '*.conf' -size +4k
            lazymount find debian:12 -type f -perm -4000 -ls
            lazymount find debian:12 /usr '(' -name doc -o -name man ')' -prune -o -type f -printf '%s %p\n'
            lazymount find --layer -1 myapp -newer /etc/os-release -json | jq -r .path
            """)
        { image, words, json, host.Options.Layer };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string[] all = parsed.GetValue(words) ?? [];
            string[] before = [.. all.TakeWhile(FindWords.IsFollow)];
            string[] paths = [.. all.Skip(before.Length).TakeWhile(word => !FindWords.BeginsExpression(word))];
            string[] expression = [.. before, .. all.Skip(before.Length + paths.Length)];
            FindPlan plan = FindParser.Parse(expression, DateTimeOffset.UtcNow, parsed.GetValue(json) ? FindActions.PrintJson : FindActions.Print);
            await using OpenedTree opened = await OpenedTree.OpenAsync(parsed.GetRequiredValue(image), settings, host, cancellationToken);
            int exitCode = ExitCode.Done;
            using var run = new FindRun(opened, host.Output);
            await plan.RunAsync(
                run,
                paths is [] ? ["/"u8.ToArray()] : [.. paths.Select(ImagePathText.Encode)],
                missing => exitCode = Math.Max(exitCode, host.Report(missing, settings)),
                cancellationToken);
            return exitCode;
        });
        return verb;
    }
}
