using LazyMount.Blobs.Images;
using LazyMount.Node.Configuration;

[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]

namespace LazyMount.Node;

/// <summary>The command line: few words, because what the service does is in its configuration.</summary>
internal static class Program
{
    private const int Failed = 1, Usage = 2;

    private const string Help = """
        lazymount-node makes containerd start containers before their images are downloaded.

        Usage:
          lazymount-node serve [--config FILE]    Serve until a signal. Containers and mounts go on
          lazymount-node doctor [--config FILE]   Check this machine and the configuration
          lazymount-node config                   Print a configuration with comments
          lazymount-node --version | --help

        The configuration is /etc/lazymount/node.toml; without it, the defaults count.
        docs/containerd.md tells how to set up containerd and Kubernetes.

        """;

    private static async Task<int> Main(string[] arguments)
    {
        try
        {
            switch (arguments)
            {
                case ["--help" or "-h" or "help"]:
                    Console.Out.Write(Help);
                    return 0;
                case ["--version"]:
                    Console.Out.WriteLine($"lazymount-node {typeof(Program).Assembly.GetName().Version!.ToString(3)}");
                    return 0;
                case ["config"]:
                    Console.Out.Write(NodeConfiguration.Text);
                    return 0;
                case ["serve", ..] when TryRead(arguments[1..], out NodeConfiguration? configuration):
                    await NodeService.RunAsync(configuration);
                    return 0;
                case ["doctor", ..] when TryRead(arguments[1..], out NodeConfiguration? configuration):
                    return await Doctor.RunAsync(configuration, Console.Out) ? 0 : Failed;
                default:
                    Console.Error.WriteLine($"lazymount-node: cannot understand '{string.Join(' ', arguments)}'; see lazymount-node --help");
                    return Usage;
            }
        }
        catch (Exception e) when (e is NodeException or ImageException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"lazymount-node: {e.Message}");
            return Failed;
        }
    }

    private static bool TryRead(string[] options, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out NodeConfiguration? configuration)
    {
        configuration = options switch
        {
            [] => NodeConfiguration.Read(NodeConfiguration.DefaultPath, isOptional: true),
            ["--config", { Length: > 0 } file] => NodeConfiguration.Read(Path.GetFullPath(file), isOptional: false),
            _ => null,
        };
        return configuration is not null;
    }
}
