using System.Xml.Linq;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Architecture;

/// <summary>
/// The arrows: LazyMount -> {Fuse, Images} -> FileSystem -> Layers -> Indexes -> {Blobs, Compression}; the exe alone sees all; LazyMount.Node, another exe, opens images and runs the first for its mounts. A project, a
/// reference or a package that is not listed here fails; whoever adds one changes this list, with the reason in
/// docs/decisions.md.
/// </summary>
public sealed class ProjectReferencesTests
{
    private static readonly string[] s_product = ["Blobs", "Compression", "FileSystem", "Fuse", "Images", "Indexes", "Layers"];
    private static readonly string[] s_testPackages = ["CsCheck", "Microsoft.Extensions.Logging", "System.IO.Hashing", "xunit.v3"];

    private static readonly Dictionary<string, (string[] Projects, string[] Packages)> s_allowed = new()
    {
        ["src/LazyMount.Compression"] = ([], ["SharpCompress", "System.IO.Hashing", "ZstdSharp.Port"]),
        ["src/LazyMount.Blobs"] = ([], ["Microsoft.Extensions.Logging.Abstractions", "Polly.Core", "Tomlyn", "System.IO.Hashing"]),
        ["src/LazyMount.Indexes"] = (["Blobs", "Compression"], ["Microsoft.Extensions.Logging.Abstractions", "System.IO.Hashing", "ZstdSharp.Port"]),
        ["src/LazyMount.Layers"] = (["Blobs", "Compression", "Indexes"], ["Microsoft.Extensions.Logging.Abstractions"]),
        ["src/LazyMount.FileSystem"] = (["Blobs", "Indexes", "Layers"], ["Microsoft.Extensions.Logging.Abstractions", "System.IO.Hashing"]),
        ["src/LazyMount.Images"] = (["Blobs", "FileSystem", "Indexes", "Layers"], ["Microsoft.Extensions.Logging.Abstractions"]),
        ["src/LazyMount.Fuse"] = (["Blobs", "FileSystem"], ["Microsoft.Extensions.Logging.Abstractions"]),
        ["src/LazyMount"] = (s_product, ["DiffPlex", "Microsoft.Extensions.Logging", "Microsoft.Extensions.Logging.Console", "Spectre.Console", "System.CommandLine"]),
        ["src/LazyMount.Node"] = (["Blobs", "Fuse", "Images", "Indexes"], ["Google.Protobuf", "Grpc.AspNetCore.Server", "Grpc.Tools"]),
        ["tests/LazyMount.TestKit"] = ([], ["System.IO.Hashing"]),
        ["tests/LazyMount.Tests"] = ([.. s_product, "LazyMount", "Fuzz", "TestKit"], s_testPackages),
        ["tests/LazyMount.MountTests"] = ([.. s_product, "TestKit"], [.. s_testPackages, "Google.Protobuf", "Grpc.Net.Client", "Grpc.Tools"]),
        ["tests/LazyMount.Fuzz"] = ([.. s_product, "TestKit"], ["SharpFuzz", "System.IO.Hashing"]),
        ["tests/LazyMount.Benchmarks"] = (s_product, ["BenchmarkDotNet"]),
    };

    public static TheoryData<string> Projects => [.. Directory
        .EnumerateFiles(RepositoryRoot.Path, "*.csproj", SearchOption.AllDirectories)
        .Select(file => Path.GetRelativePath(RepositoryRoot.Path, Path.GetDirectoryName(file)!))
        .Where(directory => !directory.StartsWith("artifacts/", StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Projects))]
    public void Project_RefersOnlyToWhatItMay(string directory)
    {
        Assert.True(s_allowed.TryGetValue(directory, out (string[] Projects, string[] Packages) allowed), $"{directory} is not in the list of projects");
        XDocument project = XDocument.Load(Path.Combine(RepositoryRoot.Path, directory, Path.GetFileName(directory) + ".csproj"));

        string[] projects = [.. Includes(project, "ProjectReference").Select(path => Path.GetFileNameWithoutExtension(path.Replace('\\', '/')).Replace("LazyMount.", "", StringComparison.Ordinal))];
        Assert.Empty(projects.Except(allowed.Projects));
        Assert.Empty(Includes(project, "PackageReference").Except(allowed.Packages));
        Assert.Empty(Includes(project, "Reference"));
    }

    [Fact]
    public void EveryListedProject_Exists() => Assert.Empty(s_allowed.Keys.Except(Projects.Select(row => row.Data)));

    [Fact]
    public void SharedBuildFiles_AddNoReferencesAndKeepTheArrowsOneStepLong()
    {
        XDocument properties = XDocument.Load(Path.Combine(RepositoryRoot.Path, "Directory.Build.props"));
        Assert.Equal("true", properties.Descendants("DisableTransitiveProjectReferences").Single().Value);
        foreach (string shared in new[] { "Directory.Build.props", "Directory.Build.targets" })
        {
            XDocument document = XDocument.Load(Path.Combine(RepositoryRoot.Path, shared));
            Assert.Empty(Includes(document, "ProjectReference").Concat(Includes(document, "PackageReference")));
        }
    }

    private static IEnumerable<string> Includes(XDocument project, string item)
        => project.Descendants(item).Select(reference => (string?)reference.Attribute("Include") ?? (string?)reference.Attribute("Update") ?? "");
}
