using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Cli;
using LazyMount.Mounting;
using LazyMount.Output;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace LazyMount.Tests.Commands;

/// <summary>Credentials of the command line, and what the mount daemon gets of the command that starts it.</summary>
public sealed class GivenCredentialsTests
{
    [Theory]
    [InlineData("mount -v --creds-stdin img dir", "mount -v img dir")]
    [InlineData("mount --creds-stdin --creds=a:b img dir", "mount img dir")]
    [InlineData("--creds-stdin mount img dir", "mount img dir")]
    [InlineData("mount --creds a:b img dir", "mount img dir")]
    [InlineData("mount --creds:a:b img dir", "mount img dir")]
    [InlineData("mount img dir --creds a", "mount img dir")]
    [InlineData("mount -- --creds-stdin true", "mount -- --creds-stdin true")]
    public void DaemonGetsTheArgumentsWithoutCredentials(string given, string expected)
    {
        string[] arguments = given.Split(' '), left = [.. GivenCredentials.Remove(arguments)];
        Assert.Equal(expected.Split(' '), left);
        // The parser has them as the removal has.
        using var output = new CommandOutput(Stream.Null, isTerminal: false);
        var host = new CommandHost { Arguments = arguments, Output = output, Error = TextWriter.Null };
        Assert.Empty(CommandLine.Create(host).Parse(arguments).Errors);
        Assert.Empty(CommandLine.Create(host).Parse(left).Errors);
    }

    [Theory]
    [InlineData("me:pw", "pw")]
    [InlineData("me:pw\nmore\n", "pw")]
    [InlineData("me:pw\r\nmore", "pw")]
    [InlineData("me: p:w \r\r\n", " p:w \r")]
    [InlineData("me:\n", "")]
    public void Line_IsReadToItsEnd(string input, string password)
        => Assert.Equal(new Credentials("me", password), GivenCredentials.ReadLine(new StringReader(input)));

    [Theory]
    [InlineData("", "--creds-stdin found nothing in the first line of standard input: write USER:PASS into it")]
    [InlineData("\r\nme:pw", "--creds-stdin found nothing in the first line of standard input: write USER:PASS into it")]
    [InlineData("hunter2\n", "--creds-stdin found no USER:PASS in the first line of standard input")]
    [InlineData(":hunter2\n", "credentials need a user name: write USER:PASS")]
    public void LineWithoutCredentials_IsRefused(string input, string message)
        => Assert.Equal(message, Assert.Throws<UsageException>(() => GivenCredentials.ReadLine(new StringReader(input))).Message);

    [Theory]
    [InlineData('x', 40_000)]
    [InlineData('\u20AC', 20_000)] // three bytes each
    public void CredentialsThatNoPipeTakes_AreRefused(char c, int count)
        => Assert.Equal("credentials have more than 32 KiB; write USER:PASS", Assert.Throws<UsageException>(() => GivenCredentials.ReadLine(new StringReader($"me:{new string(c, count)}\n"))).Message);

    [Fact]
    public void EndlessLine_IsReadToItsLimitOnly()
    {
        using var input = new StreamReader("/dev/zero");
        Assert.Throws<UsageException>(() => GivenCredentials.ReadLine(input));
    }

    [Fact]
    public void LargestCredentials_AreReadByEachWorker()
    {
        var credentials = new Credentials("me", new string('x', (32 << 10) - 2));
        Assert.Equal(credentials, GivenCredentials.ReadLine(new StringReader($"{credentials.UserName}:{credentials.Password}")));
        using SafeFileHandle memory = GivenCredentials.ToMemory(credentials);
        for (int worker = 0; worker < 2; worker++)
        {
            using SafeFileHandle inherited = File.OpenHandle($"/proc/self/fd/{memory.DangerousGetHandle()}");
            int number = (int)inherited.DangerousGetHandle();
            Assert.Equal(credentials, GivenCredentials.Read(number));
            inherited.SetHandleAsInvalid(); // the reader closes it
        }
    }

    [Fact]
    public void PathsOfTheEnvironment_StayWhatTheyWere_WhenTheDaemonLeavesTheDirectory()
    {
        var environment = new Dictionary<string, string?>
        {
            ["REGISTRY_AUTH_FILE"] = "auth.json",
            ["DOCKER_CONFIG"] = "../docker",
            ["XDG_RUNTIME_DIR"] = "",
            ["HOME"] = "/home/me",
            ["DOCKER_AUTH_CONFIG"] = "{}",
        };
        Daemon.SetEnvironment(environment);
        string here = Environment.CurrentDirectory;
        Assert.Equal(Path.Combine(here, "auth.json"), environment["REGISTRY_AUTH_FILE"]);
        Assert.Equal(Path.Combine(Path.GetDirectoryName(here)!, "docker"), environment["DOCKER_CONFIG"]);
        Assert.Equal(("", "/home/me", "{}"), (environment["XDG_RUNTIME_DIR"], environment["HOME"], environment["DOCKER_AUTH_CONFIG"]));
        Assert.DoesNotContain("SSL_CERT_FILE", environment.Keys);
    }
}
