using System.CommandLine;
using LazyMount.Cli;

namespace LazyMount.Commands;

/// <summary>`lazymount config`: the image's config as it was pushed, byte for byte.</summary>
internal static class ConfigCommand
{
    public static Command Create(CommandHost host)
    {
        var image = ImageArgument.Create();
        var verb = new Verb("config", "Write the image's config. These are the exact bytes of which its digest was computed.",
            """
            lazymount config debian:12 | jq .config.Cmd
            lazymount config --platform linux/arm64 debian:12
            """)
        { image };
        verb.Run(host, (parsed, settings, cancellationToken)
            => ManifestCommand.WriteExactAsync(host, settings, parsed.GetRequiredValue(image), resolved => resolved.ConfigBytes, cancellationToken));
        return verb;
    }
}
