using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Cli;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount tags`: the tags of a repository.</summary>
internal static class TagsCommand
{
    public static Command Create(CommandHost host)
    {
        var repository = new Argument<string>("REPOSITORY") { Description = "A registry's repository: NAME without tag and digest; or oci:DIR" };
        var json = Verb.JsonOption("an array of strings");
        var verb = new Verb("tags", "List the tags of a repository, one a line, in the order of its registry.",
            """
            lazymount tags debian
            lazymount tags --json ghcr.io/owner/app | jq -r '.[-1]'
            """)
        { repository, json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            string text = parsed.GetRequiredValue(repository);
            ImageReference reference = ImageArgument.Parse(text);
            if (reference.Digest is not null || reference.SourceIndex is not null || text.EndsWith($":{reference.Tag}", StringComparison.Ordinal))
            {
                throw new UsageException($"tags needs a repository without tag and digest: write {CommandOutput.Displayable(reference.Place)}");
            }
            if (reference.Transport is Transport.OciArchive or Transport.DockerArchive)
            {
                throw new UsageException("tags lists the tags of a registry's repository or of a layout, oci:DIR; 'lazymount ls' names the images of an archive that has several");
            }
            if (settings.Offline && reference.Transport == Transport.Registry)
            {
                throw new UsageException($"the tags of {reference.Place} are known to its registry only, and with --offline nothing is fetched: leave --offline out");
            }
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            IReadOnlyList<string> tags = await ImageSource.ListTagsAsync(reference, settings.Registries, loggers, cancellationToken);
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(tags, ListingJson.Default.IReadOnlyListString);
                return ExitCode.Done;
            }
            foreach (string tag in tags)
            {
                host.Output.WriteLine(CommandOutput.Displayable(tag));
            }
            return ExitCode.Done;
        });
        return verb;
    }
}
