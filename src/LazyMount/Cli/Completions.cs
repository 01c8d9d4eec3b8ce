using System.CommandLine;
using System.Text.RegularExpressions;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Commands;
using LazyMount.Fuse;
using LazyMount.Images;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Cli;

/// <summary>What may be typed next.</summary>
/// <param name="Text">The whole word, which begins with what was typed of it. After one that ends with "/", ":" or "=" the word goes on.</param>
/// <param name="Description">For shells that show one; may be empty.</param>
internal readonly record struct Completion(string Text, string Description);

/// <summary>
/// Completes an unfinished command line, from the definitions of commands and options, the files of this machine, the tags of layouts and
/// archives, and the mount table. No registry is asked.
/// </summary>
/// <param name="root">All commands.</param>
/// <param name="settings">Where archives that are compressed as a whole are remembered.</param>
internal sealed partial class Completions(Command root, CommandSettings settings)
{
    private const string Layout = "oci:", LayoutArchive = "oci-archive:", DockerArchive = "docker-archive:";

    /// <summary>Completes the last of the words that follow "lazymount"; it may be empty.</summary>
    public async Task<IReadOnlyList<Completion>> CompleteAsync(IReadOnlyList<string> words, CancellationToken cancellationToken)
    {
        string last = words.Count == 0 ? "" : words[^1];
        Command command = root;
        Option? pending = null; // whose value comes next
        int arguments = 0;
        bool optionsEnded = false;
        List<string> given = [];
        foreach (string word in words.SkipLast(1))
        {
            if (pending is not null)
            {
                pending = null;
            }
            else if (!optionsEnded && word == "--")
            {
                optionsEnded = true;
            }
            else if (!optionsEnded && word is ['-', _, ..])
            {
                pending = FindOption(command, word) is { Arity.MaximumNumberOfValues: > 0 } waiting ? waiting : null;
            }
            else if (arguments == 0 && FindCommand(command, word) is { } sub)
            {
                command = sub;
            }
            else
            {
                arguments++;
                given.Add(word);
            }
        }
        IEnumerable<Completion> found = pending is not null ? ValuesOf(pending, last, "")
            : !optionsEnded && last.StartsWith('-') ? last.IndexOf('=', StringComparison.Ordinal) is > 0 and int equals && FindOption(command, last[..equals]) is { } option
                ? ValuesOf(option, last[(equals + 1)..], last[..(equals + 1)])
                : OptionNames(command)
            : command.Subcommands.Count > 0 && arguments == 0 ? CommandNames(command)
            : command.Arguments.Count > 0 ? await ArgumentsAsync(command, command.Arguments[Math.Min(arguments, command.Arguments.Count - 1)], given, last, cancellationToken)
            : [];
        return [.. found.Where(each => each.Text.StartsWith(last, StringComparison.Ordinal) && !each.Text.Contains('\n', StringComparison.Ordinal)).DistinctBy(each => each.Text).OrderBy(each => each.Text, StringComparer.Ordinal)];
    }

    private static Command? FindCommand(Command command, string word) => command.Subcommands.FirstOrDefault(sub => sub.Name == word || sub.Aliases.Contains(word));

    private static Option? FindOption(Command command, string word)
        => UsageErrors.OptionsOf(command).FirstOrDefault(option => option.Name == word || option.Aliases.Contains(word));

    private static IEnumerable<Completion> CommandNames(Command command)
        => HelpText.Shown(command.Subcommands).Select(sub => new Completion(sub.Name, HelpText.SummaryOf(sub)));

    private static IEnumerable<Completion> OptionNames(Command command)
        => UsageErrors.OptionsOf(command).Where(option => !option.Hidden).SelectMany(option => option.Aliases.Prepend(option.Name).Select(name => new Completion(name, HelpText.DescriptionOf(option))));

    // "auto|erofs|fuse" names the values; words in capitals stand for something.
    private static IEnumerable<Completion> ValuesOf(Option option, string typed, string prefix)
        => (option.HelpName ?? "").Split('|').SelectMany(word => word switch
        {
            "FILE" => Files(typed, "", directoriesOnly: false),
            "DIR" => Files(typed, "", directoriesOnly: true),
            _ when ValuePattern().IsMatch(word) => [new Completion(word, "")],
            _ => [],
        }).Select(each => each with { Text = prefix + each.Text });

    private async Task<IEnumerable<Completion>> ArgumentsAsync(Command command, Argument argument, List<string> given, string typed, CancellationToken cancellationToken)
    {
        switch (argument.Name)
        {
            case "IMAGE" or "IMAGE1" or "IMAGE2" or "REPOSITORY":
                return await ImagesAsync(typed, cancellationToken);
            case "LAYOUT":
                return Files(typed, Layout, directoriesOnly: true);
            case "DIR" when command.Name == "umount":
                return MountPoint.List().Select(mount => new Completion(mount.Directory, mount.Source)).Where(mount => !given.Contains(mount.Text));
            case "DIR":
                return Files(typed, "", directoriesOnly: true);
            case "DEST" or "FILE":
                return Files(typed, "", directoriesOnly: false);
            case "SHELL":
                return CompletionScripts.Shells.Select(shell => new Completion(shell, ""));
            case HelpCommand.Words:
                Command explained = given.Aggregate(root, (at, word) => FindCommand(at, word) ?? at);
                return CommandNames(explained).Concat(explained == root ? HelpTopics.All.Select(topic => new Completion(topic.Name, topic.Title)) : []);
            default:
                return [];
        }
    }

    private async Task<IEnumerable<Completion>> ImagesAsync(string typed, CancellationToken cancellationToken)
    {
        string? scheme = Array.Find([Layout, LayoutArchive, DockerArchive], scheme => typed.StartsWith(scheme, StringComparison.Ordinal));
        if (scheme is null)
        {
            return [new(Layout, "OCI image layout, a directory"), new(LayoutArchive, "OCI image layout in a tar file"), new(DockerArchive, "file of docker save")];
        }
        string place = typed[scheme.Length..];
        if (place.IndexOf(':', StringComparison.Ordinal) is > 0 and int colon)
        {
            return await TagsAsync(scheme, place[..colon], cancellationToken);
        }
        List<Completion> found = [.. Files(place, scheme, directoriesOnly: scheme == Layout)];
        if (scheme != Layout)
        {
            return found;
        }
        // Directories that are layouts are named by their tags as well.
        foreach (Completion directory in found.ToArray())
        {
            string path = directory.Text[scheme.Length..].TrimEnd('/');
            if (File.Exists(Path.Combine(path, "index.json")))
            {
                found.AddRange(await TagsAsync(scheme, path, cancellationToken));
            }
        }
        return found;
    }

    private async Task<IEnumerable<Completion>> TagsAsync(string scheme, string place, CancellationToken cancellationToken)
    {
        try
        {
            await using IImageSource source = await ResolvedImage.OpenSourceAsync(ImageReference.Parse(scheme + place), settings.ToOpening(), NullLoggerFactory.Instance, cancellationToken);
            List<Completion> tags = [];
            await foreach (string tag in source.ListTagsAsync(static _ => { }, cancellationToken))
            {
                tags.Add(new Completion($"{scheme}{place}:{tag}", ""));
            }
            return tags;
        }
        catch (Exception e) when (e is ImageException or FormatException or IOException or UnauthorizedAccessException)
        {
            return []; // there is nothing to complete
        }
    }

    // The names that begin with what was typed; directories end with "/".
    private static IEnumerable<Completion> Files(string typed, string prefix, bool directoriesOnly)
    {
        string directory = typed[..(typed.LastIndexOf('/') + 1)], begin = typed[directory.Length..];
        try
        {
            return [.. new DirectoryInfo(directory.Length == 0 ? "." : directory).EnumerateFileSystemInfos()
                .Where(entry => entry.Name.StartsWith(begin, StringComparison.Ordinal) && (begin.Length > 0 || !entry.Name.StartsWith('.')))
                .Select(entry => (entry.Name, IsDirectory: Directory.Exists(entry.FullName)))
                .Where(entry => entry.IsDirectory || !directoriesOnly)
                .Select(entry => new Completion($"{prefix}{directory}{entry.Name}{(entry.IsDirectory ? "/" : "")}", ""))];
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return [];
        }
    }

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9:+-]*\z")]
    private static partial Regex ValuePattern();
}
