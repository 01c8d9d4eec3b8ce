using System.CommandLine;
using System.Text.RegularExpressions;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount tags`: the tags of a repository, or the names of the images in a layout or archive.</summary>
internal static partial class TagsCommand
{
    public static Command Create(CommandHost host)
    {
        var repository = new Argument<string>("REPOSITORY") { Description = "A registry's repository: NAME without tag and digest; or oci:DIR, oci-archive:FILE, docker-archive:FILE" };
        var json = JsonOption.Lines(() => ListingJson.Default.TagListing);
        var verb = new Verb("tags", "List the tags of a repository. They are in the order in which its registry lists them.",
            """
            lazymount tags debian
            lazymount tags --json ghcr.io/owner/app | jq -r .tag | tail -n 1
            """)
        { repository, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string text = parsed.GetRequiredValue(repository);
            if (text is "" or "docker://")
            {
                throw new UsageException($"cannot list the tags of '{text}': it names no repository; write NAME, such as debian");
            }
            if (RegistryPattern().IsMatch(text))
            {
                throw new UsageException($"cannot list the tags of '{text}': it names a registry and no repository; write {text.TrimEnd('/')}/NAME");
            }
            ImageReference reference = ImageArgument.Parse(text);
            if (reference.Digest is not null || reference.SourceIndex is not null || text.EndsWith($":{reference.Tag}", StringComparison.Ordinal))
            {
                throw new UsageException($"cannot list the tags of '{text}': a repository has neither tag nor digest; write {CommandOutput.Displayable(reference.Place)}{(HostAndPortPattern().IsMatch(text) ? $", or {text}/NAME if {text} is a registry" : "")}");
            }
            if (settings.Offline && reference.Transport == Transport.Registry)
            {
                throw new UsageException($"cannot list the tags of '{reference.Place}': only its registry has them, and --offline fetches nothing; leave --offline out");
            }
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using IImageSource source = await ResolvedImage.OpenSourceAsync(reference, settings.ToOpening(), loggers, cancellationToken);
            await WriteAsync(host.Output, source.ListTagsAsync(settings.Registries.Note, cancellationToken), parsed.GetValue(json), cancellationToken);
            return ExitCode.Done;
        });
        return verb;
    }

    // The tags of a page are written before the next page is waited for.
    private static async Task WriteAsync(CommandOutput output, IAsyncEnumerable<string> tags, bool asJson, CancellationToken cancellationToken)
    {
        using JsonLines? json = asJson ? new JsonLines(output) : null;
        await using IAsyncEnumerator<string> each = tags.GetAsyncEnumerator(cancellationToken);
        while (true)
        {
            ValueTask<bool> next = each.MoveNextAsync();
            if (!next.IsCompleted)
            {
                output.Flush();
            }
            if (!await next)
            {
                break;
            }
            if (json is null)
            {
                output.WriteLine(CommandOutput.Displayable(each.Current));
            }
            else
            {
                json.Write(new TagListing { Tag = each.Current }, ListingJson.Default.TagListing);
            }
        }
    }

    // A host alone, such as "127.0.0.1:5000" or "ghcr.io", would be read as an image of Docker Hub, where no name without "/" has a dot.
    [GeneratedRegex(@"\A(?:docker://)?(?:(?:localhost|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::[0-9]+)?/?|[A-Za-z0-9-]+:[0-9]+/)\z")]
    private static partial Regex RegistryPattern();

    [GeneratedRegex(@"\A[A-Za-z0-9-]+:[0-9]+\z")]
    private static partial Regex HostAndPortPattern();
}
