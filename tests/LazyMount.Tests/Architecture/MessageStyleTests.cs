using System.Text.RegularExpressions;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Architecture;

/// <summary>Messages have one style: they begin in lower case and end without a full stop, so that one can quote another.</summary>
public sealed partial class MessageStyleTests
{
    private static readonly string[] s_places =
    [
        "LazyMount.Blobs", "LazyMount.Compression", "LazyMount.FileSystem", "LazyMount.Fuse", "LazyMount.Images", "LazyMount.Indexes", "LazyMount.Layers",
        "LazyMount/Mounting", "LazyMount/Unpacking", "LazyMount/Exporting", "LazyMount/Commands", "LazyMount/Comparing", "LazyMount/Copying", "LazyMount/Trees",
    ];

    [Fact]
    public void Messages_BeginInLowerCase_AndEndWithoutAFullStop()
    {
        string[] messages = [.. s_places
            .SelectMany(place => Directory.EnumerateFiles(Path.Combine(RepositoryRoot.Path, "src", place), "*.cs", SearchOption.AllDirectories))
            .SelectMany(File.ReadLines)
            .Where(line => Message().IsMatch(line) && !ForProgrammers().IsMatch(line))
            .Select(line => line.Trim())];
        Assert.True(messages.Length > 300, "the messages were not found");
        Assert.DoesNotContain(messages, message => Capital().IsMatch(message) || FullStop().IsMatch(message));
    }

    [GeneratedRegex("(Exception\\(|ImageError\\.|LoggerMessage\\(|Note\\().*\"|=> new\\(\\$?\"")]
    private static partial Regex Message();

    // Text of the runtime or of libc, whose words are kept; or a bug's.
    [GeneratedRegex("ArgumentException|InvalidOperationException|OutOfRangeException|DirectoryNotFoundException")]
    private static partial Regex ForProgrammers();

    [GeneratedRegex("\"[A-Z][a-z]+ [a-z{']")]
    private static partial Regex Capital();

    [GeneratedRegex("[a-z0-9})']\\.\"[),;]")]
    private static partial Regex FullStop();
}
