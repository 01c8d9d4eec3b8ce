using LazyMount.Blobs.Files;

namespace LazyMount.Blobs.Registry;

/// <summary>Where the configuration of registries is looked for: environment variables, the home directory, and the root of /etc and /run.</summary>
public sealed record RegistryEnvironment
{
    /// <summary>The environment of this process.</summary>
    public static RegistryEnvironment OfProcess { get; } = new()
    {
        Variable = PathText.FromEnvironment,
        Home = StandardDirectory.Home,
        UserId = OperatingSystem.IsWindows() ? 1 : Files.Interop.EffectiveUser(),
    };

    /// <summary>The value of an environment variable; null when it is not set or empty.</summary>
    public required Func<string, string?> Variable { get; init; }

    /// <summary>The user's home directory.</summary>
    public required string Home { get; init; }

    /// <summary>The user's directory of configuration: $XDG_CONFIG_HOME, else ~/.config.</summary>
    public string ConfigHome => Variable("XDG_CONFIG_HOME") is { Length: > 0 } given && Path.IsPathRooted(given) ? given : Path.Combine(Home, ".config");

    /// <summary>The directory that holds "etc" and "run".</summary>
    public string Root { get; init; } = "/";

    /// <summary>The user's number.</summary>
    public uint UserId { get; init; }

    /// <summary>The user is root, whose configuration is the system's.</summary>
    public bool IsRoot => UserId == 0;
}
