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
    public void Directory_IsWhereTheUserSays_OrTheSystemHasIt(bool isRoot, string? own, string? xdg, string expected)
        => Assert.Equal(expected, StandardDirectory.Find("LAZYMOUNT_CACHE", "/var/cache", "XDG_CACHE_HOME", ".cache", isRoot, name => name switch
        {
            "LAZYMOUNT_CACHE" => own,
            "XDG_CACHE_HOME" => xdg,
            "HOME" => "/home/user",
            _ => null,
        }));
}
