using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`lazymount ls` against GNU ls on a mount of the same image.</summary>
public sealed class LsTests(ManyKindsImage image) : IClassFixture<ManyKindsImage>
{
    [Theory]
    [InlineData(".")]
    [InlineData("names")]
    [InlineData("etc sizes deep")]
    [InlineData("sizes/s1 etc/passwd links deep/1/leaf")]
    [InlineData("etc/passwd")]
    [InlineData("links/directory links/file links/broken links/tool")]
    [InlineData("-a names")]
    [InlineData("-A names")]
    [InlineData("-ar names")]
    [InlineData("-d . etc links/directory")]
    [InlineData("-R .")]
    [InlineData("-aR deep names")]
    [InlineData("-Rr deep links")]
    [InlineData("-Rt deep links times")]
    [InlineData("-t times")]
    [InlineData("-tr times")]
    [InlineData("-S sizes")]
    [InlineData("-Sr sizes")]
    [InlineData("-St sizes times etc/passwd etc/group")]
    [InlineData("-i links sizes")]
    [InlineData("-1 links")]
    [InlineData("etc nonesuch links")]
    [InlineData("nonesuch")]
    public void Names_AreThoseOfGnuLs(string arguments)
        => ManyKindsImage.AssertSame(image.Theirs($"ls {arguments}; code=$?; exit $((code > 0))"), image.Ours($"exec \"$L\" ls \"$I\" {arguments}"));

    [Theory]
    [InlineData(".")]
    [InlineData("sizes")]
    [InlineData("-a sizes")]
    [InlineData("-h sizes")]
    [InlineData("-ah etc deep")]
    [InlineData("modes owners special")]
    [InlineData("special/null owners/large links/broken links/directory links/file")]
    [InlineData("links names xattrs")]
    [InlineData("-R deep empty")]
    [InlineData("acls acls/listed acls/plain")]
    [InlineData("-R acls")]
    [InlineData("-a acls/inherited")]
    [InlineData("-d acls/link acls/none acls/inherited")]
    [InlineData("-d links/directory links/")]
    [InlineData("-i special links")]
    [InlineData("-tr times")]
    [InlineData("-Sr etc sizes")]
    public void LongListing_IsThatOfGnuLsWithNumbersAndTimesInUtc(string arguments)
        => ManyKindsImage.AssertSame(image.Theirs($"ls -n --time-style=long-iso {arguments}"), image.Ours($"exec \"$L\" ls -l \"$I\" {arguments}"));

    [Theory]
    [InlineData(80, "sizes")]
    [InlineData(40, "sizes times")]
    [InlineData(120, "-i links")]
    [InlineData(40, "wide")]
    [InlineData(20, "wide")]
    [InlineData(60, "wide acls")]
    [InlineData(20, "-t times")]
    [InlineData(5, "etc")]
    [InlineData(80, "etc/passwd etc/group deep")]
    public void OnATerminal_NamesStandInTheColumnsOfGnuLs(int width, string arguments)
    {
        ToolResult ours = image.Ours($"export TERM=dumb COLUMNS={width}; script -qec \"$L ls '$I' {arguments}\" /dev/null < /dev/null");
        Assert.Equal(image.Theirs($"ls -C -T 0 -w {width} {arguments}").EnsureSuccess().Output, ours.Output.Replace("\r\n", "\n", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(null, "modes links special names etc deep")]
    [InlineData(null, "-l modes links special names")]
    [InlineData("di=1;34:ln=36:or=31;1:mi=41:ex=32:*.conf=33:*.gz=35:mh=44:fi=2:ow=45:tw=46:st=47", "modes links special names etc")]
    [InlineData("di=1;34:ln=36:or=31;1:mi=41:ex=32:*.conf=33:*.gz=35:mh=44:fi=2", "-l modes links special names etc")]
    [InlineData("*a=31:*ab=32:*.GZ=33", "names deep")]
    public void Colors_AreThoseOfGnuLs(string? variable, string arguments)
    {
        string set = variable is null ? "eval \"$(TERM=xterm dircolors -b)\";" : $"export LS_COLORS='{variable}';";
        // GNU ls begins with a reset, once.
        string theirs = image.Theirs($"{set} ls -n --time-style=long-iso --color=always -1 {arguments}").EnsureSuccess().Output.Replace("\u001b[0m\u001b[", "\u001b[", StringComparison.Ordinal);
        if (!arguments.Contains("-l", StringComparison.Ordinal))
        {
            theirs = image.Theirs($"{set} ls --color=always -1 {arguments}").EnsureSuccess().Output.Replace("\u001b[0m\u001b[", "\u001b[", StringComparison.Ordinal);
        }
        Assert.Equal(theirs, image.Ours($"{(variable is null ? "" : set)} exec \"$L\" ls --color=always \"$I\" {arguments}").EnsureSuccess().Output);
    }

    [Fact]
    public void Color_IsForTerminalsOnly()
    {
        string Run(string set, string options) => image.Ours($"export TERM=xterm; {set} script -qec \"$L {options}\" /dev/null < /dev/null").Output;
        Assert.Contains("\u001b[01;34mempty", Run("", "ls $I"), StringComparison.Ordinal);
        Assert.Contains("\u001b[01;34mempty", Run("", "tree -L 1 $I"), StringComparison.Ordinal);
        Assert.Contains("\u001b[01;34mempty", Run("NO_COLOR=1", "ls --color always $I"), StringComparison.Ordinal);
        Assert.DoesNotContain("\u001b", Run("", "ls --color=never $I"), StringComparison.Ordinal);
        Assert.DoesNotContain("\u001b", Run("NO_COLOR=1", "ls $I"), StringComparison.Ordinal);
        Assert.DoesNotContain("\u001b", Run("TERM=dumb", "ls $I"), StringComparison.Ordinal);
        Assert.DoesNotContain("\u001b", image.Ours("\"$L\" ls \"$I\"").Output, StringComparison.Ordinal);
        Sentence.AssertOne(image.Ours("exec \"$L\" ls --color=maybe \"$I\""), 2, "maybe");
    }
}
