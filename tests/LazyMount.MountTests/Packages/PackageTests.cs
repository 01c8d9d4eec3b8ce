using System.Runtime.InteropServices;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.MountTests.Packages;

/// <summary>What scripts/package makes: built once for all tests of <see cref="PackageTests"/>.</summary>
public sealed class BuiltPackages
{
    // For the slowest of them, a build; generous, as machines may be busy.
    public static readonly TimeSpan Limit = TimeSpan.FromMinutes(30);

    private readonly Lazy<string> _directory = new(() =>
    {
        Assert.SkipUnless(RuntimeInformation.OSArchitecture == Architecture.X64, "scripts/package builds for x86-64 on x86-64");
        using Tool package = Tool.Start(Script("package"), []);
        package.WaitForExit(Limit).EnsureSuccess();
        return Path.Combine(RepositoryRoot.Path, "artifacts", "packages");
    });

    /// <summary>Where they are.</summary>
    public string Directory => _directory.Value;

    public string File(string pattern) => Assert.Single(System.IO.Directory.GetFiles(Directory, pattern));

    public static string Script(string name) => Path.Combine(RepositoryRoot.Path, "scripts", name);
}

/// <summary>The packages that users install, each on a system where nothing else of LazyMount is.</summary>
public sealed class PackageTests(BuiltPackages packages) : IClassFixture<BuiltPackages>
{
    [Theory]
    [InlineData("bullseye", "lazymount_*_amd64.deb")]
    [InlineData("bookworm", "lazymount_*_amd64.deb")]
    [InlineData("trixie", "lazymount_*_amd64.deb")]
    [InlineData("bookworm", "lazymount-*-linux-x64.tar.gz")]
    public void CleanDebian_RunsTheSessionOfTheReadme_AsRootAndAsAUser(string release, string pattern)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "a root directory of its own needs root");
        string file = packages.File(pattern);
        using var directory = new TemporaryDirectory();
        using var registry = new RegistryServer();
        using var authority = new CertificateAuthority();
        (string certificate, string key) = authority.Issue("127.0.0.1");
        using var nginx = new NginxServer(new NginxSettings { Upstream = registry.Host, Certificate = certificate, CertificateKey = key });
        var layout = new OciLayoutBuilder(directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("file", "content")).WriteImage("v1");
        Skopeo.Push(layout.Reference("v1"), registry, "app:v1");

        using Tool tried = Tool.Start(BuiltPackages.Script("try-package.sh"), [release, file],
            new Dictionary<string, string?> { ["TLS_IMAGE"] = $"{nginx.Host}/app:v1", ["TLS_CA"] = authority.Certificate });
        string output = tried.WaitForExit(BuiltPackages.Limit).EnsureSuccess().Output;
        Assert.Matches("(?m)^As root: [1-9][0-9]* commands said what README.md says$", output);
        Assert.Matches("(?m)^As a user: [1-9][0-9]* commands said what README.md says$", output);
        Assert.Contains("TLS: trusted with its authority only\n", output, StringComparison.Ordinal);
        Assert.EndsWith($"{Path.GetFileName(file)} works on {release}\n", output, StringComparison.Ordinal);
    }

    [Fact]
    public void BuildInAnotherDirectory_GivesTheSameBytes()
    {
        string[] sums = File.ReadAllLines(packages.File("SHA256SUMS"));
        Tool.Shell("cd \"$1\" && sha256sum --check --quiet SHA256SUMS", packages.Directory).EnsureSuccess();
        using var directory = new TemporaryDirectory();
        string copy = directory.CreateDirectory("another/place/with a longer name");
        // The files that a clone has, and the sysroot, which both builds fetch. There is no .git: a build takes only the commit's time from it.
        Tool.Shell("""
            cd "$1" && git ls-files -z --cached --others --exclude-standard --deduplicate | tar -c --null -T - --ignore-failed-read | tar -x -C "$2"
            mkdir "$2/artifacts"
            cp -a artifacts/sysroot "$2/artifacts"
            """, RepositoryRoot.Path, copy).EnsureSuccess();
        string time = Tool.Run("git", "-C", RepositoryRoot.Path, "log", "-1", "--format=%ct").EnsureSuccess().Output.Trim();

        using Tool second = Tool.Start("bash", ["-c", "umask 077 && exec \"$1\"", "bash", Path.Combine(copy, "scripts", "package")], new Dictionary<string, string?>
        {
            ["SOURCE_DATE_EPOCH"] = time,
            ["TZ"] = "Asia/Kathmandu",
        });
        second.WaitForExit(BuiltPackages.Limit).EnsureSuccess();
        string[] again = File.ReadAllLines(Path.Combine(copy, "artifacts", "packages", "SHA256SUMS"));
        Assert.Equal(4, again.Length);
        // The first directory may also have packages for arm64.
        Assert.Subset(sums.ToHashSet(), again.ToHashSet());
    }

    [Fact]
    public void DotnetTool_IsInstalledWithAnEmptyHome_AndStartsItsDaemon()
    {
        string package = packages.File("lazymount.*.nupkg");
        string version = Path.GetFileNameWithoutExtension(package)["lazymount.".Length..];
        using var directory = new TemporaryDirectory();
        var layout = new OciLayoutBuilder(directory["layout"]);
        layout.AddLayer(new TarBytes().Directory("./").File("file", "content")).WriteImage("v1");

        // Also as dotnet itself runs it, which is how local tools are run.
        using Tool tried = Tool.Start("bash", ["-ec", """
            cd "$1"
            mkdir home mnt
            root=$(dirname "$(realpath "$(command -v dotnet)")")
            clean=(env -i PATH="$PATH" HOME="$1/home" DOTNET_ROOT="$root" DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1)
            trap 'umount --lazy mnt 2>/dev/null || true' EXIT
            "${clean[@]}" dotnet tool install lazymount --version "$3" --tool-path tools --source "$2" >&2
            session() {
              "${clean[@]}" LAZYMOUNT_CACHE="$1/cache" LAZYMOUNT_STATE="$1/state" "${@:2}" mount oci:layout:v1 mnt
              cat mnt/file && echo
              # Other mounts of this machine are listed too.
              "${clean[@]}" LAZYMOUNT_CACHE="$1/cache" LAZYMOUNT_STATE="$1/state" "${@:2}" list --json | jq -r --arg dir "$PWD/mnt" '.. | objects | select(.mountPoint == $dir) | .state'
              "${clean[@]}" LAZYMOUNT_CACHE="$1/cache" LAZYMOUNT_STATE="$1/state" "${@:2}" umount mnt
            }
            session "$1" tools/lazymount
            session "$1" dotnet tools/.store/lazymount/*/lazymount/*/tools/*/any/lazymount.dll
            """, "bash", directory.Path, packages.Directory, version]);
        Assert.Equal("content\nalive\ncontent\nalive\n", tried.WaitForExit(BuiltPackages.Limit).EnsureSuccess().Output);
    }

    [Fact]
    public void OldestGlibc_IsWhatTheReadmeSays()
    {
        string control = Tool.Run("dpkg-deb", "--field", packages.File("lazymount_*_amd64.deb"), "Depends").EnsureSuccess().Output;
        string glibc = control.Split("libc6 (>= ")[1].Split(')')[0];
        Assert.Contains($"glibc {glibc} or later", File.ReadAllText(Path.Combine(RepositoryRoot.Path, "README.md")), StringComparison.Ordinal);
    }

    [Fact]
    public void TheNodePackage_HasAProgramThatRuns_AUnit_AndTheConfigurationThatItPrints()
    {
        using var directory = new TemporaryDirectory();
        Tool.Run("dpkg-deb", "--extract", packages.File("lazymount-node_*_amd64.deb"), directory.Path).EnsureSuccess();
        Assert.StartsWith("lazymount-node ", Tool.Run(directory["usr/bin/lazymount-node"], "--version").EnsureSuccess().Output, StringComparison.Ordinal);
        Assert.Equal(Tool.Run(directory["usr/bin/lazymount-node"], "config").EnsureSuccess().Output, File.ReadAllText(directory["etc/lazymount/node.toml"]));
        Assert.Contains("KillMode=process", File.ReadAllText(directory["usr/lib/systemd/system/lazymount-node.service"]), StringComparison.Ordinal);
        Assert.Matches(@"lazymount \(= [0-9.]+\)", Tool.Run("dpkg-deb", "--field", packages.File("lazymount-node_*_amd64.deb"), "Depends").EnsureSuccess().Output);
    }

    [Fact]
    public void ThirdPartyNotices_SayWhatTheLockFilesSay() => Tool.Run(BuiltPackages.Script("notices"), "--check").EnsureSuccess();
}
