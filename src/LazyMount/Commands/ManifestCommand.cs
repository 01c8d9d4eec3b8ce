using System.CommandLine;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Images;
using LazyMount.Output;
using Microsoft.Extensions.Logging;

namespace LazyMount.Commands;

/// <summary>`lazymount manifest`: the manifest chosen for the platform, byte for byte.</summary>
internal static class ManifestCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var verb = new Verb("manifest", "Write the image's manifest. These are the exact bytes of which its digest was computed.",
            """
            lazymount manifest debian:12 | jq -r '.layers[].digest'
            lazymount manifest debian:12 | sha256sum
            """)
        { image };
        verb.Run(host, (parsed, settings, cancellationToken)
            => WriteExactAsync(host, settings, parsed.GetRequiredValue(image), resolved => resolved.ManifestBytes, cancellationToken));
        return verb;
    }

    internal static async Task<int> WriteExactAsync(
        CommandHost host, CommandSettings settings, string reference, Func<Image, ReadOnlyMemory<byte>> part, CancellationToken cancellationToken)
    {
        ImageReference parsed = ImageArgument.Parse(reference);
        using ILoggerFactory loggers = Loggers.ForCommand(settings);
        await using ResolvedImage resolved = await ResolvedImage.OpenAsync(parsed, settings.ToOpening(), loggers, cancellationToken);
        host.Output.Write(part(resolved.Image).Span);
        if (host.Output.IsTerminal)
        {
            host.Output.WriteLine();
        }
        return ExitCode.Done;
    }
}
