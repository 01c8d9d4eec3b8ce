using LazyMount.Fuzz.Targets;
using LazyMount.TestKit;

namespace LazyMount.Fuzz;

/// <summary>One parser under test.</summary>
/// <param name="Name">What scripts/fuzz and the folders of Corpus and Regressions call it.</param>
/// <param name="Run">Feeds it one input. Whatever is thrown is a finding.</param>
/// <param name="Seeds">Well-formed inputs to begin with, made anew each time.</param>
internal sealed record FuzzTarget(string Name, Action<byte[]> Run, Func<IEnumerable<byte[]>> Seeds)
{
    public static readonly FuzzTarget[] All =
    [
        new("inflate", InflateTarget.Run, InflateTarget.Seeds),
        new("tar", TarTarget.Run, TarTarget.Seeds),
        new("index", IndexTarget.Run, IndexTarget.Seeds),
        new("tree", TreeTarget.Run, TreeTarget.Seeds),
        new("erofs", ErofsTarget.Run, TarTarget.Seeds),
        new("request", RequestTarget.Run, RequestTarget.Seeds),
        new("pax", PaxTarget.Run, PaxTarget.Seeds),
        new("document", DocumentTarget.Run, DocumentTarget.Seeds),
        new("docker-manifest", DockerManifestTarget.Run, DockerManifestTarget.Seeds),
        new("ztoc", ZtocTarget.Run, ZtocTarget.Seeds),
        new("toc", TocTarget.Run, TocTarget.Seeds),
        new("seekable", SeekableTarget.Run, SeekableTarget.Seeds),
        new("xz", XzTarget.Run, XzTarget.Seeds),
        new("prefetch", PrefetchTarget.Run, PrefetchTarget.Seeds),
    ];

    public static FuzzTarget Named(string name)
        => Array.Find(All, target => target.Name == name)
            ?? throw new ArgumentException($"there is no target {name}: {string.Join(", ", All.Select(target => target.Name))}");

    /// <summary>Inputs that were kept: what earlier fuzzing found worth keeping, and what once failed.</summary>
    public IEnumerable<string> KeptFiles()
        => new[] { "Corpus", "Regressions" }
            .Select(kind => Path.Combine(RepositoryRoot.Path, "tests", "LazyMount.Fuzz", kind, Name))
            .Where(Directory.Exists)
            .SelectMany(Directory.EnumerateFiles)
            .Order(StringComparer.Ordinal);
}

/// <summary>The code under test did not throw, but did something that it must not.</summary>
internal sealed class FuzzException(string message) : Exception(message)
{
    public static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new FuzzException(otherwise);
        }
    }
}
