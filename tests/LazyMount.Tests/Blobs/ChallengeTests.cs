using LazyMount.Blobs.Registry;
using Xunit;

namespace LazyMount.Tests.Blobs;

public sealed class ChallengeTests
{
    [Fact]
    public void BearerChallenge_IsRead()
    {
        Challenge challenge = Challenge.Choose(["""Bearer realm="https://auth.example/token?a=b",service="reg, istry",scope="repository:a/b:pull,push" """])!;
        Assert.Equal("Bearer", challenge.Scheme);
        Assert.Equal("https://auth.example/token?a=b", challenge.Parameters["realm"]);
        Assert.Equal("reg, istry", challenge.Parameters["Service"]);
        Assert.Equal("repository:a/b:pull,push", challenge.Parameters["scope"]);
    }

    [Fact]
    public void OneHeaderWithSeveralChallenges_IsTakenApart()
    {
        List<Challenge> challenges = Challenge.ParseAll("""Negotiate, Basic realm="a \"quoted\" realm" , BEARER realm=x, service = y""");
        Assert.Equal(["Negotiate", "Basic", "BEARER"], challenges.Select(challenge => challenge.Scheme));
        Assert.Equal("a \"quoted\" realm", challenges[1].Parameters["realm"]);
        Assert.Equal("y", challenges[2].Parameters["service"]);
    }

    [Fact]
    public void Bearer_IsPreferredToBasic()
    {
        Assert.Equal("Bearer", Challenge.Choose(["Basic realm=x", "bearer realm=y"])!.Scheme);
        Assert.Equal("Basic", Challenge.Choose(["Bearer service=y", "basic"])!.Scheme);
    }

    [Theory]
    [InlineData("")]
    [InlineData(",,,")]
    [InlineData("Bearer")]
    [InlineData("Bearer realm=\"never closed")]
    [InlineData("realm=x")]
    [InlineData("Digest realm=x")]
    [InlineData("\0\u00ff")]
    public void NothingUsable_IsNull(string header) => Assert.Null(Challenge.Choose([header]));
}
