using System.Text.Json;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>`lazymount find` against GNU find on a mount of the same image.</summary>
public sealed class FindTests(ManyKindsImage image) : IClassFixture<ManyKindsImage>
{
    public static TheoryData<string> Expressions =>
    [
        // Where it starts
        "", ".", "etc", "etc/", "./etc names", "links/file", "links/directory", "links/directory/", "-H links/directory", "-P links/directory", "-H links/broken -ls", "-H links -samefile links/broken", "-H links -newer links/broken", "nonesuch etc", "etc/../names/", "links//sub",
        "top top/", "-H top -maxdepth 1 -printf '%p %y %l\\n'",
        // Names
        ". -name '*.conf'", ". -iname '*.conf'", ". -name '[a-c]*'", ". -name '[!a-z]*'", ". -name '[^a-z]*'", ". -name '*[[:space:]]*'", ". -name '*[[:upper:]]*'", ". -name '?'", ". -name 'caf?'",
        @". -name '\[x\]'", ". -name '[x]'", ". -name '[[]x]'", ". -name 'q[?]'", @". -name 'st\*r'", ". -name '[]x[]*'", ". -name 'a[+]b'", @". -name '*\\*'", ". -name '.*'", ". -name '*'", ". -iname 'CAF*'", ". -iname 'café'",
        ". -name 'latin?'", ". -name '[b-a]*'", ". -name '*a*b*'", ". -name '[x'", @". -name 'x\'", ". -name '*\n*'", ". -name '-*'", ". -name '[--0]*'", ". -name .", "etc/ -name etc", ". -name ''",
        ". -path './deep/*'", ". -path '*/[23]/*'", ". -wholename './etc/*'", ". -ipath './ETC/*'", "etc -path 'etc/*'", ". -path ./deep -prune -o -print",
        ". -lname '*etc*'", ". -ilname '*ETC*'", ". -lname 'nowhere/*'",
        // Regular expressions
        @". -regex '.*/\(one\|two\)'", ". -regex '.*/s[0-9]+'", ". -regex './s.*5?'", ". -iregex '.*\\.CONF'", ". -regex 'conf'", ". -regex '.*/s[[:digit:]]*'", @". -regex '.*/\(a\)\1b'", ". -regex '.*/caf.'", ". -regex '+.*'", @". -regex '.*/a\+b'",
        ". -regextype posix-extended -regex '.*/s[0-9]{3,4}'", ". -regextype posix-extended -regex '.*/(ab)+'", ". -regextype posix-extended -regex './(etc|deep/1)(/.*)?'", ". -regextype posix-extended -regex '.*/[[:upper:]]+[.].*'",
        @". -regextype posix-basic -regex '.*/\(ab\)\{2\}'", @". -regextype posix-basic -regex '.*/a\{2\}b'", ". -regextype posix-basic -regex '.*/a+b'", @". -regextype posix-basic -regex '.*/st\*r'", @". -regextype posix-extended -regex '.*/a\{2}'", ". -regextype egrep -regex '.*/([abc]).*\\1.*'",
        ". -regextype posix-extended -regex '.*/[^a-z]+'", ". -regex '.*line'", ". -regextype findutils-default -regex '.*line'", ". -regex '.*with[^x]line'", ". -regextype sed -regex '.*with.line'", ". -regextype posix-extended -regex '^./etc$'", @". -regextype posix-extended -regex '.*\<conf'", ". -regextype posix-extended -regex '.*/.'",
        // Types
        ". -type f", ". -type d", ". -type l", ". -type p", ". -type c", ". -type b", ". -type s", ". -type f,l", ". -type d,p,c", ". -not -name loop -xtype f", ". -not -name loop -xtype d", ". -not -name loop -xtype p", "links -xtype l -not -name loop",
        // Sizes
        ". -size 0", ". -size 1", ". -size +1", ". -size -2", ". -size 1c", ". -size +1023c", ". -size -1024c", ". -size 2k", ". -size +1M", ". -size -1M", ". -size 1M", ". -size 2M", ". -size 1w", ". -size +3b", ". -size -1G", ". -size 1G", ". -empty", ". -type d -empty", "empty",
        // Modes
        ". -perm 644", ". -perm 0755", ". -perm -4000", ". -perm /6000", ". -perm -u+s", ". -perm /u=s,g=s", ". -perm -111", ". -perm u=rwx,g=rx,o=rx", ". -perm -o+w", ". -perm /a+x", ". -perm -a+X", ". -perm /000 2>/dev/null", ". -perm -000", ". -perm 0", ". -perm +t",
        ". -perm -1000", ". -perm u=rw,g=u-w,o=g", ". -perm a=,u+rw-w", ". -perm 7000", ". -executable", ". -type f -executable",
        // Owners, links, inodes
        ". -user root", ". -user daemon", ". -user 54321", ". -group bin", ". -group 54322", ". -uid 1", ". -uid +1", ". -gid -2", ". -nouser", ". -nogroup", ". -links 3", ". -links +2", ". -type f -links -2", ". -samefile links/one", ". -samefile links/file", "-H . -samefile links/file", ". -inum 1", ". -inum +20",
        // Times
        ". -newer times/old", ". -newer times/older-by-a-nanosecond", ". ! -newer times/old", ". -newer links/loop", ". -anewer times/days", ". -cnewer times/days", ". -newermt '2001-09-09 01:46:41'", ". -newermt 2020-01-01", ". -newermt '2019-12-31 23:59:59'", ". -newermt '2020-01-01 00:00 +0100'", ". -newermt @1577836799.5", ". -newermt '11 days ago'", ". -newermt yesterday", ". -newermm times/days", ". -newercm times/days", ". ! -newermt 2020-01-01T00:00:00Z",
        ". -mtime 1", ". -mtime -2", ". -mtime +1", ". -mtime 10", ". -mtime +9 -mtime -11", ". -mtime 0", ". -mtime -0", ". -mtime 0.7", ". -mmin -60", ". -mmin +60", ". -mmin 31", ". -mmin -120 -mmin +60", ". -atime +10", ". -cmin 91", ". -mtime +0",
        // Operators
        ". -type f -name '*conf' -o -type d -name 'e*'", ". '(' -name etc -o -name deep ')' -print", ". ! -type f", ". -not -type f -a -not -type d", ". -type f , -type d", ". -type f -print , -type d -print", ". ! ! -name etc", ". -true", ". -false", ". -false -o -name etc",
        ". -name etc -and -type d -or -name passwd", ". '(' '(' -name etc ')' ')'", ". ! '(' -name 's*' , -type f ')'", ". -name deep -prune -o -name '1' -print", ". -type d -prune", ". -mindepth 1 -type d -prune -print", ". -prune -o -print",
        // Depth and actions
        ". -maxdepth 0", ". -maxdepth 1", ". -mindepth 2 -maxdepth 3", ". -mindepth 4", ". -depth", ". -depth -name deep -prune -o -print", ". -d -maxdepth 1", "deep etc -maxdepth 0", ". -name bottom -quit", "etc/passwd -print -quit -print", ". -maxdepth 0 -quit -o -print", "deep -depth -mindepth 1 -print", ". -xdev -mount -noleaf -warn -name etc",
        ". -print -print", ". -print0", ". -name etc -print0 -printf '%p\\0'", ". -ls | tr -s ' '", "etc links special -ls", ". -depth -maxdepth 1 -ls",
        // Formats
        @". -printf '%p|%P|%f|%h|%H|%d\n'", @"etc/ -printf '%p|%P|%f|%h|%H|%d\n'", @"./ -printf '%p|%P|%f|%h|%H\n'", @"links/sub/.. -printf '%p|%f|%h\n'", @". -printf '%s %m %M %n %i %y %b %k\n'", @". -printf '%u %U %g %G\n'", @". -not -name loop -printf '%l %y %Y\n'",
        @". -printf '%t|%a|%c\n'", @". -printf '%T@ %T+ %TY-%Tm-%Td %TH:%TM:%TS %Ta %TA %Tb %TB\n'", @". -printf '%Tc|%TD|%Te|%TF|%Tg|%TG|%Th|%TI|%Tj|%Tk|%Tl|%Tp|%TP\n'", @". -printf '%Tr|%TR|%Ts|%TT|%Tu|%TU|%TV|%Tw|%TW|%Tx|%TX|%Ty|%Tz|%TZ|%TC|%Tn|%Tt|\n'", @". -printf '%A@ %CY\n'",
        @". -printf '[%10s][%-10s][%5m][%#m][%05m][%3d][%-3d][%03d][%+d]\n'", @". -printf '[%12f][%-12f][%.3f][%5.1f][%-8y]\n'", @". -printf '\a\b\f\n\r\t\v\\\101\0\1012\60 %% x'", @". -printf 'one\cnot\n'", @". -printf '%S\n'", @". -name etc -printf '' -o -name passwd -printf 'p'", @". -printf '%p' -printf '\n'",
    ];

    [Theory]
    [MemberData(nameof(Expressions))]
    public void Find_SaysWhatGnuFindSays(string expression)
        => ManyKindsImage.AssertSame(image.Theirs($"find {expression}"), image.Ours($"\"$L\" find \"$I\" {(expression == "" ? "." : expression)}"), isSorted: true);

    [Fact]
    public void NoPath_IsTheRoot() => ManyKindsImage.AssertSame(image.Theirs("find . -mindepth 1 -printf '/%P\\n'"), image.Ours("\"$L\" find \"$I\" -mindepth 1"), isSorted: true);

    [Fact]
    public void FollowingStarts_MayStandBeforeTheImage() => ManyKindsImage.AssertSame(image.Theirs("find -H links/directory"), image.Ours("\"$L\" find -P -H \"$I\" links/directory"), isSorted: true);

    [Fact]
    public void Xattr_FindsNamesOfExtendedAttributes()
    {
        Assert.Equal("/acls/inherited\n/acls/listed\n/acls/plain\n/xattrs/blue\n/xattrs/round\n", image.Ours("\"$L\" find \"$I\" -xattr").EnsureSuccess().Output);
        Assert.Equal("/xattrs/blue\n", image.Ours("\"$L\" find \"$I\" -xattrname 'user.c*'").EnsureSuccess().Output);
    }

    [Fact]
    public void LoopOfLinks_IsABrokenLink()
    {
        Assert.Equal("links/broken N\nlinks/loop L\nlinks/through N\n", image.Ours("\"$L\" find \"$I\" links -xtype l -printf '%p %Y\\n'").EnsureSuccess().Output);
        Assert.Equal("links/broken N\nlinks/loop L\nlinks/through N\n", image.Theirs("find links -type l -printf '%p %Y\\n' 2>&1 | grep ' [NL]$' | sort").Output);
    }

    [Fact]
    public void Json_IsAnObjectALine()
    {
        foreach (string line in new[] { "\"$L\" find \"$I\" etc -json", "\"$L\" find --json \"$I\" etc", "\"$L\" find \"$I\" etc --json -true" })
        {
            string[] lines = image.Ours(line).EnsureSuccess().Output.TrimEnd('\n').Split('\n');
            Assert.Equal(["/etc", "/etc/APP.CONF", "/etc/app.conf", "/etc/group", "/etc/passwd"], lines.Select(entry => JsonDocument.Parse(entry).RootElement.GetProperty("path").GetString()));
        }
    }

    [Fact]
    public void Layer_IsReadAlone()
    {
        image.Layout.AddLayer(new TarBytes().File("low")).AddLayer(new TarBytes().Whiteout("low").File("high")).WriteImage("two");
        string reference = image.Layout.Reference("two");
        Assert.Equal("/.wh.low\n/high\n", image.LazyMount.Run("find", "--layer", "-1", reference, "-type", "f").EnsureSuccess().Output);
        Assert.Equal("/low\n", image.LazyMount.Run("find", reference, "-type", "f", "--layer", "0").EnsureSuccess().Output);
    }

    /// <summary>Options of ours and words of the expression are told from one another.</summary>
    [Theory]
    [InlineData("find --offline --tls-verify false --platform linux/amd64 \"$I\" etc -name passwd")]
    [InlineData("--offline find -v --layer 0 \"$I\" etc -name passwd")]
    [InlineData("find \"$I\" --layer 0 etc -name passwd --offline")]
    [InlineData("find \"$I\" etc -name --json -o -name passwd --layer=0")]
    [InlineData("find -- \"$I\" etc -name passwd")]
    [InlineData("--log-level-is-none find", 2)]
    public void OptionsOfOurs_MayStandBeforeTheImageOrHaveTwoDashes(string arguments, int exitCode = 0)
    {
        ToolResult result = image.Ours($"exec \"$L\" {arguments}");
        Assert.Equal((exitCode, exitCode == 0 ? "etc/passwd\n" : ""), (result.ExitCode, result.Output));
    }

    [Theory]
    [InlineData("-name", "-name needs an argument")]
    [InlineData("-nam x", "unknown test or action '-nam'")]
    [InlineData("'('", "missing")]
    [InlineData("'(' -true", "no ')'")]
    [InlineData("-true ')'", "no '('")]
    [InlineData("'(' ')'", "between")]
    [InlineData("-true -o", "missing behind '-o'")]
    [InlineData("!", "missing")]
    [InlineData("-o -true", "missing at the beginning, before '-o'")]
    [InlineData("-type x", "'x'")]
    [InlineData("-type f,", "-type")]
    [InlineData("-size 5x", "-size")]
    [InlineData("-size +", "-size")]
    [InlineData("-perm 888", "-perm")]
    [InlineData("-perm u", "-perm")]
    [InlineData("-uid abc", "-uid")]
    [InlineData("-maxdepth -1", "-maxdepth")]
    [InlineData("-mtime x", "-mtime")]
    [InlineData("-newermt someday", "-newermt")]
    [InlineData("-newerBt 2020-01-01", "when a file was made")]
    [InlineData("-newerxy .", "unknown")]
    [InlineData("-regex '\\(x'", "a group does not end")]
    [InlineData("-regextype perl -regex x", "perl")]
    [InlineData("-printf %q", "%q")]
    [InlineData("-printf '%'", "no letter")]
    [InlineData("-printf '\\q'", "\\q")]
    [InlineData("-printf %TQ", "%TQ")]
    [InlineData("-exec rm '{}' ';'", "starts no programs")]
    [InlineData("-delete", "cannot be changed")]
    [InlineData("-fprint x", "redirect")]
    [InlineData("-true etc", "paths come first")]
    [InlineData("--frob", "--frob")]
    public void WrongExpression_IsAUsageError(string expression, string told)
        => Sentence.AssertOne(image.Ours($"exec \"$L\" find \"$I\" {expression}"), 2, told);

    [Theory]
    [InlineData("-user nosuch", "'nosuch'")]
    [InlineData("-newer /no/such", "/no/such")]
    [InlineData("/no/such", "/no/such")]
    public void WhatIsNotInTheImage_Fails(string expression, string told)
        => Sentence.AssertOne(image.Ours($"exec \"$L\" find \"$I\" {expression}"), 1, told);

    [Fact]
    public void DeepNesting_IsOneSentence()
        => Sentence.AssertOne(image.Ours("exec \"$L\" find \"$I\" $(printf '( %.0s' $(seq 20000))"), 2, "nested");
}
