using LazyMount.Blobs.Files;
using Xunit;

namespace LazyMount.Tests.Blobs.Files;

public sealed class StandardDirectoryTests
{
    [Theory]
    [InlineData(true, "/own", "/xdg", "/own")]
    [InlineData(true, null, "/home/user/.cache", "/var/cache/lazymount")] // root under sudo has the user's
    [InlineData(true, null, null, "/var/cache/lazymount")]
    [InlineData(false, "/own", "/xdg", "/own")]
    [InlineData(false, "", "/xdg", "/xdg/lazymount")]
    [InlineData(false, null, "relative", "/home/user/.cache/lazymount")] // the specification: to be ignored
    [InlineData(false, null, "", "/home/user/.cache/lazymount")]
    [InlineData(false, null, null, "/home/user/.cache/lazymount")]
    public void Cache_IsWhereTheUserSays_OrTheSystemHasIt(bool hasSystems, string? own, string? xdg, string expected)
        => Assert.Equal(expected, StandardDirectory.Find("OWN", "XDG", ".cache", hasSystems ? "/var/cache" : null, systemFirst: true, Environment(own, xdg)));

    [Theory]
    [InlineData(true, "/own", "/xdg", "/own")]
    [InlineData(true, null, "/xdg", "/xdg/lazymount")]
    [InlineData(true, null, "relative", "/var/lib/lazymount")]
    [InlineData(true, null, null, "/var/lib/lazymount")]
    [InlineData(false, null, "/xdg", "/xdg/lazymount")]
    [InlineData(false, null, "relative", "/home/user/.local/state/lazymount")]
    public void State_IsWhereTheUserSays_OrTheSystemHasIt(bool hasSystems, string? own, string? xdg, string expected)
        => Assert.Equal(expected, StandardDirectory.Find("OWN", "XDG", ".local/state", hasSystems ? "/var/lib" : null, systemFirst: false, Environment(own, xdg)));

    private static Func<string, string?> Environment(string? own, string? xdg) => name => name switch
    {
        "OWN" => own,
        "XDG" => xdg,
        "HOME" => "/home/user",
        _ => null,
    };
}
