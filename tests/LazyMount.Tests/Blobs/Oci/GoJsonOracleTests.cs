using System.Text;
using LazyMount.TestKit;
using LazyMount.Tests.Commands;
using Xunit;

namespace LazyMount.Tests.Blobs.Oci;

/// <summary>skopeo, which is written in Go, takes and refuses the same index.json, and finds the same image in it.</summary>
public sealed class GoJsonOracleTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("""{"schemaVersion":2,"manifests":[{ENTRY,TAG}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG}]}""")]
    [InlineData("""{"schemaVersion":null,"MANIFESTS":[{ENTRY,TAG}]}""")]
    [InlineData("{\"manifest\u017f\":[{ENTRY,TAG}]}")]
    [InlineData("""{"manifests":[null,{},{ENTRY,TAG}]}""")]
    [InlineData("""{"manifests":[{"digest":"blake3:1","size":-1,"platform":{}},{ENTRY,TAG}]}""")]
    [InlineData("""{"x":1,"x":2,"X":{"manifests":[]},"manifests":[{ENTRY,"x":[{}],"x":"\ud800",TAG}]}""")]
    [InlineData("""{"manifests":[{ENTRY,"annotations":{"org.opencontainers.image.ref.name":"v2","x":"\ud800","org.opencontainers.image.ref.name":"v1"}}]}""")]
    [InlineData("""{"manifests":[{ENTRY,"annotations":{"org.opencontainers.image.ref.name":"v1","org.opencontainers.image.ref.name":"v2"}}]}""")]
    [InlineData("""{"manifests":[{ENTRY,"annotations":{"Org.Opencontainers.Image.Ref.Name":"v1"}}]}""")]
    [InlineData("""{"manifests":[{ENTRY,"ANNOTATIONS":{"org.opencontainers.image.ref.name":"\u00761"}}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG,"data":"e30=","urls":null,"platform":null}]}""")]
    [InlineData("""{"manifests":null}""")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("\uFEFF{\"manifests\":[{ENTRY,TAG}]}")]
    [InlineData("""{"manifests":{}}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},7]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"size":"5"}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"size":1.0}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"size":1e2}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"size":9223372036854775808}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"mediaType":7}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"digest":[]}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"annotations":[]}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"annotations":{"a":1}}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"platform":"linux/amd64"}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"data":"e30"}]}""")]
    [InlineData("""{"manifests":[{ENTRY,TAG},{"urls":"http://a"}]}""")]
    public async Task Index_IsReadAsSkopeoDoes(string index)
    {
        TestImage image = TestImage.Create();
        string entry = image.Entry()[1..^1];
        index = index.Replace("ENTRY", entry, StringComparison.Ordinal).Replace("TAG", "\"annotations\":{\"org.opencontainers.image.ref.name\":\"v1\"}", StringComparison.Ordinal);
        string reference = $"oci:{_directory.WriteLayout(Encoding.UTF8.GetBytes(index), image.Manifest, image.Config)}:v1";
        ToolResult skopeo = Tool.Run("skopeo", "inspect", "--raw", reference);
        CommandRun run = await CommandRun.RunAsync("manifest", reference, "--cache-dir", Path.Combine(_directory.Path, "cache"));
        Assert.True(skopeo.ExitCode == 0 == (run.ExitCode == 0), $"skopeo: {skopeo.Error}\nlazymount: {run.Error}");
        Assert.Equal(skopeo.Output, run.Output);
    }
}
