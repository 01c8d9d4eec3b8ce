using LazyMount.Blobs.Registry.Connections;
using Xunit;

namespace LazyMount.Tests.Blobs;

/// <summary>URLs of answers, which are sent as they were given.</summary>
public sealed class RawUrlTests
{
    private static readonly Uri s_here = new("https://registry.example:5000/v2/app/blobs/sha256:00?ns=docker.io");

    [Theory]
    [InlineData("https://cdn.example/%7Ea/b%2Fc|d?sig=a%2Bb%7E|c~d&x=%zz", "https://cdn.example/%7Ea/b%2Fc|d?sig=a%2Bb%7E|c~d&x=%zz")]
    [InlineData("https://cdn.example/a/../b/./c//d", "https://cdn.example/a/../b/./c//d")]
    [InlineData("HTTPS://cdn.example?sig=%7E#fragment", "https://cdn.example/?sig=%7E")]
    [InlineData("https://cdn.example", "https://cdn.example/")]
    [InlineData("//cdn.example/%41", "https://cdn.example/%41")]
    [InlineData("/%7E/../x", "https://registry.example:5000/%7E/../x")]
    [InlineData("../uploads/1?state=%7E", "https://registry.example:5000/v2/app/uploads/1?state=~")]
    [InlineData("https://cdn.example/a b", "https://cdn.example/a%20b")]
    [InlineData("https://cdn.example/\u00c3\u00a9", "https://cdn.example/%C3%A9")]
    public void Resolve_KeepsPathAndQueryAsTheyAreGiven(string target, string expected)
    {
        Uri? url = RawUrl.Resolve(s_here, target);
        Assert.NotNull(url);
        Assert.Equal(expected, $"{url.GetLeftPart(UriPartial.Authority)}{url.PathAndQuery}");
    }

    [Theory]
    [InlineData("https://")]
    [InlineData("https://[::1")]
    public void Resolve_OfWhatIsNoUrl_IsNull(string target) => Assert.Null(RawUrl.Resolve(s_here, target));
}
