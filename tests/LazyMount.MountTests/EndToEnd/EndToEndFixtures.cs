using LazyMount.MountTests.EndToEnd;
using LazyMount.TestKit;
using Xunit;

[assembly: AssemblyFixture(typeof(SharedRegistry))]
[assembly: AssemblyFixture(typeof(DebianImages))]

namespace LazyMount.MountTests.EndToEnd;

/// <summary>One registry for all tests that only push to it and pull from it; repositories of their own keep them apart.</summary>
public sealed class SharedRegistry : IDisposable
{
    private int _repositories;

    public RegistryServer Server { get; } = new();

    /// <summary>Pushes to a repository that no other test has.</summary>
    public string Push(string image)
        => Skopeo.Push(image, Server, $"test/repository{Interlocked.Increment(ref _repositories)}:v1");

    public void Dispose() => Server.Dispose();
}

/// <summary>
/// Images out of real Debian packages, made by the script that quickstart uses. They stay in artifacts/test-images,
/// so that only the first run downloads.
/// </summary>
public sealed class DebianImages
{
    private static readonly string s_directory = Path.Combine(RepositoryRoot.Path, "artifacts", "test-images");

    private readonly Lazy<string> _sample = new(() => Make("sample"));
    private readonly Lazy<string> _root = new(() => Make("root",
        "base-files", "base-passwd", "bash", "coreutils", "dash", "debconf", "debianutils", "diffutils", "findutils", "grep",
        "gzip", "libc-bin", "libc6", "libpam-runtime", "login", "ncurses-base", "passwd", "perl-base", "sed", "tar", "tzdata", "util-linux"));

    /// <summary>The image that scripts/quickstart shows.</summary>
    public string Sample => _sample.Value;

    /// <summary>Most of a minimal Debian root, one layer for each of 22 packages, and the sample's last layer on top.</summary>
    public string Root => _root.Value;

    private static string Make(string name, params string[] packages)
    {
        string layout = Path.Combine(s_directory, name);
        Tool.Run(Path.Combine(RepositoryRoot.Path, "scripts", "make-sample-image.sh"), [layout, .. packages]).EnsureSuccess();
        return $"oci:{layout}:sample";
    }
}
