using LazyMount.Blobs.Registry;

namespace LazyMount.Tests.Blobs;

/// <summary>Options for registries that see nothing of this machine's configuration.</summary>
internal static class TestRegistries
{
    public static RegistryOptions Options { get; } = With();

    /// <param name="dockerConfig">Where docker's config.json is; null: nowhere.</param>
    /// <param name="root">What has /etc below it.</param>
    /// <param name="variables">Environment variables.</param>
    public static RegistryOptions With(string? dockerConfig = null, string root = "/nonexistent", IReadOnlyDictionary<string, string>? variables = null) => new()
    {
        Environment = new RegistryEnvironment
        {
            Variable = name => variables?.GetValueOrDefault(name) ?? (name == "DOCKER_CONFIG" ? dockerConfig : null),
            Home = "/nonexistent",
            Root = root,
            UserId = 1000,
        },
    };
}
