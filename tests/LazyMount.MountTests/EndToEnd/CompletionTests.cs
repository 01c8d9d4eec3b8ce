using System.Text.RegularExpressions;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.EndToEnd;

/// <summary>Command lines are completed in the real shells, and the manual pages are read by man(1) and mandoc(1).</summary>
public sealed class CompletionTests : IDisposable
{
    private readonly LazyMountCli _lazymount = new();
    private readonly string _bin;

    public CompletionTests()
    {
        _bin = _lazymount.Directory.CreateDirectory("bin");
        File.CreateSymbolicLink(Path.Combine(_bin, "lazymount"), LazyMountCli.Binary);
        var layout = new OciLayoutBuilder(_lazymount.Directory["layout"]);
        layout.AddLayer(new TarBytes().File("file", "content")).WriteImage("v1");
        layout.WriteImage("v2");
        _lazymount.Directory.CreateDirectory("lib");
        Tool.Run("tar", "-C", _lazymount.Directory["layout"], "-cf", _lazymount.Directory["images.tar"], ".").EnsureSuccess();
    }

    public void Dispose() => _lazymount.Dispose();

    /// <summary>A line that is typed, and the words that may stand at its end.</summary>
    public static TheoryData<string, string[]> Lines => new()
    {
        { "lazymount mo", ["mount"] },
        { "lazymount index b", ["build"] },
        { "lazymount help exit", ["exit-codes"] },
        { "lazymount --offline ls --recur", ["--recursive"] },
        { "lazymount mount --as ", ["auto", "erofs", "fuse"] },
        { "lazymount mount --as=er", ["--as=erofs"] },
        { "lazymount ls oci:la", ["oci:layout/", "oci:layout:v1", "oci:layout:v2"] },
        { "lazymount ls oci:layout:", ["oci:layout:v1", "oci:layout:v2"] },
        { "lazymount ls oci-archive:images.tar:v", ["oci-archive:images.tar:v1", "oci-archive:images.tar:v2"] },
        { "lazymount mount oci:layout:v1 l", ["layout/", "lib/"] },
        { "lazymount export --output im", ["images.tar"] },
    };

    [Theory]
    [MemberData(nameof(Lines))]
    public void Bash_CompletesALine(string line, string[] expected)
    {
        // Readline has the line up to the last ":" or "=" already.
        string word = line[(line.LastIndexOf(' ') + 1)..], before = word[..(word.LastIndexOfAny([':', '=']) + 1)];
        string output = InDirectory("bash", "--norc", "-c",
            """eval "$(lazymount completion bash)"; COMP_LINE=$1 COMP_POINT=${#1}; _lazymount lazymount; printf '%s\n' "${COMPREPLY[@]}" """, "bash", line);
        Assert.Equal(expected.Select(text => text[before.Length..]), output.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [MemberData(nameof(Lines))]
    public void Fish_CompletesALine(string line, string[] expected)
    {
        string output = InDirectory("fish", "--no-config", "-c", "lazymount completion fish | source; complete -C $argv[1]", line);
        Assert.Equal(expected, output.TrimEnd('\n').Split('\n').Select(each => each.Split('\t')[0]));
    }

    [Theory]
    [MemberData(nameof(Lines))]
    public void Zsh_CompletesALine(string line, string[] expected)
    {
        // A terminal of its own; what compadd is given is written down instead of shown.
        string script = """
            zmodload zsh/zpty
            zpty z zsh -f -i
            zpty -w z 'PS1= PROMPT_EOL_MARK= ; autoload -Uz compinit && compinit -u -D && eval "$(lazymount completion zsh)"'
            zpty -w z 'compadd() { local -a hits; builtin compadd -A hits "$@"; (( $#hits )) && print -rl -- "${hits[@]}" >> found; return 0 }'
            zpty -w z 'zle -N go; go() { zle complete-word; : > ended; }; bindkey "^G" go; : > ready'
            repeat 300; do [[ -e ready ]] && break; sleep 0.1; done
            zpty -w -n z "$1"$'\C-G'
            repeat 300; do [[ -e ended ]] && break; sleep 0.1; done
            zpty -d z
            sort -u found
            """;
        string output = InDirectory("zsh", "-f", "-c", script, "zsh", line);
        Assert.Equal(expected.Order(StringComparer.Ordinal), output.TrimEnd('\n').Split('\n').Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Umount_CompletesMountedDirectories()
    {
        string directory = _lazymount.Directory.CreateDirectory("mnt");
        _lazymount.Run("mount", $"oci:{_lazymount.Directory["layout"]}:v1", directory).EnsureSuccess();
        try
        {
            Assert.Contains(directory, _lazymount.Run("complete", "--", "umount", directory[..^1]).EnsureSuccess().Output.Split('\n'));
        }
        finally
        {
            _lazymount.Run("umount", directory).EnsureSuccess();
        }
    }

    [Fact]
    public void ManualPages_AreReadWithoutAWarning()
    {
        string directory = _lazymount.Directory["pages"];
        _lazymount.Run("manual", directory).EnsureSuccess();
        string[] pages = Directory.GetFiles(Path.Combine(directory, "man"), "lazymount*.?", SearchOption.AllDirectories);
        Assert.Contains(Path.Combine(directory, "man", "man1", "lazymount-index-push.1"), pages);
        Assert.Contains(Path.Combine(directory, "man", "man5", "lazymount-files.5"), pages);
        foreach (string page in pages)
        {
            ToolResult read = Tool.Shell("MANWIDTH=80 man --warnings --encoding=UTF-8 --local-file \"$1\"", page).EnsureSuccess();
            Assert.Equal("", read.Error);
            Assert.All(Regex.Replace(read.Output, ".\b", "").Split('\n'), line => Assert.InRange(line.Length, 0, 80)); // bold is a letter upon itself
            Assert.Contains("SYNOPSIS", page.EndsWith('5') ? read.Output + "SYNOPSIS" : read.Output, StringComparison.Ordinal);
            Assert.Equal("", Tool.Run("mandoc", "-T", "lint", "-W", "warning", page).Output);
        }
    }

    private string InDirectory(params string[] command)
        => Tool.Shell("cd \"$1\" && export PATH=\"$2:$PATH\" TERM=xterm && shift 2 && exec \"$@\"", [_lazymount.Directory.Path, _bin, .. command]).EnsureSuccess().Output;
}
