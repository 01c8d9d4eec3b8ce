using System.CommandLine;
using System.Text.Json.Serialization.Metadata;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Indexes.Store;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>Makes the commands that list the layers of one image, each in its own columns, or as JSON.</summary>
internal static class LayersVerb
{
    /// <param name="host">The process that runs the command.</param>
    /// <param name="name">The command's name.</param>
    /// <param name="description">Its help.</param>
    /// <param name="examples">Examples for its help, one a line.</param>
    /// <param name="json">How the rows become JSON.</param>
    /// <param name="list">Makes the rows.</param>
    /// <param name="write">Writes the rows as a table.</param>
    public static Command Create<TRow>(
        CommandHost host, string name, string description, string examples, Func<JsonTypeInfo<IReadOnlyList<TRow>>> json,
        Func<Image, IndexFinder, CancellationToken, Task<IReadOnlyList<TRow>>> list, Action<CommandOutput, IReadOnlyList<TRow>> write)
        => Create(host, name, description, examples, json, list, (output, rows, _) => write(output, rows));

    /// <summary>The same with further options of the command, which the writer of the table asks for.</summary>
    public static Command Create<TRow>(
        CommandHost host, string name, string description, string examples, Func<JsonTypeInfo<IReadOnlyList<TRow>>> json,
        Func<Image, IndexFinder, CancellationToken, Task<IReadOnlyList<TRow>>> list, Action<CommandOutput, IReadOnlyList<TRow>, ParseResult> write, params Option[] options)
    {
        var image = ImageArgument.Create();
        var asJson = JsonOption.Document(json);
        var verb = new Verb(name, description, examples) { image, asJson };
        foreach (Option option in options)
        {
            verb.Add(option);
        }
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            ImageReference reference = ImageArgument.Parse(parsed.GetRequiredValue(image));
            using ILoggerFactory loggers = Loggers.ForCommand(settings);
            await using ResolvedImage resolved = await ResolvedImage.OpenAsync(reference, settings.ToOpening(), loggers, cancellationToken);
            IReadOnlyList<TRow> rows = await list(resolved.Image, resolved.OpenIndexes(settings.ToOpening(), loggers), cancellationToken);
            if (parsed.GetValue(asJson))
            {
                host.Output.WriteDocument(rows, json());
            }
            else
            {
                write(host.Output, rows, parsed);
            }
            return ExitCode.Done;
        });
        return verb;
    }
}
