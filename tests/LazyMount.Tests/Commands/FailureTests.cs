using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Fuse;
using Xunit;

namespace LazyMount.Tests.Commands;

public sealed class FailureTests
{
    public static TheoryData<Exception, int> Codes => new()
    {
        { new UsageException("u"), 2 },
        { new CommandException("c"), 1 },
        { new CommandException("c", 3), 3 },
        { new ImageException(ImageError.Unreachable, "i"), 3 },
        { new ImageException(ImageError.Denied, "i"), 3 },
        { new ImageException(ImageError.NotFound, "i"), 1 },
        { new ImageException(ImageError.Verification, "i"), 1 },
        { new FuseException("f"), 1 },
        { new IOException("io"), 1 },
        { new InvalidOperationException("bug"), 1 },
    };

    [Theory]
    [MemberData(nameof(Codes))]
    public void Exception_HasItsExitCode(Exception exception, int code) => Assert.Equal(code, Failure.ExitCodeOf(exception));

    [Fact]
    public void ExpectedFailure_IsItsSentence()
        => Assert.Equal("lazymount: no such tag", Failure.Describe(new ImageException(ImageError.NotFound, "no such tag", new IOException("404")), verbose: false));

    [Fact]
    public void Verbose_AddsTheChainOfCauses()
        => Assert.Equal(
            "lazymount: no such tag\n  because: 404 (IOException)\n  because: deeper (TimeoutException)",
            Failure.Describe(new ImageException(ImageError.NotFound, "no such tag", new IOException("404", new TimeoutException("deeper"))), verbose: true));

    [Fact]
    public void UnexpectedFailure_SaysSoWithoutAStackTrace()
    {
        string text = Failure.Describe(Thrown(), verbose: false);
        Assert.StartsWith("lazymount: unexpected InvalidOperationException: oops; this is a bug", text);
        Assert.DoesNotContain("\n", text);
        Assert.Contains(nameof(Thrown), Failure.Describe(Thrown(), verbose: true));
    }

    [Fact]
    public void ControlCharactersInAMessage_DoNotReachTheTerminal()
        => Assert.Equal("lazymount: a?[31mb", Failure.Describe(new CommandException("a\u001b[31mb"), verbose: false));

    private static InvalidOperationException Thrown()
    {
        try
        {
            throw new InvalidOperationException("oops");
        }
        catch (InvalidOperationException e)
        {
            return e;
        }
    }
}
