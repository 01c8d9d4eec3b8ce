using System.Text;
using System.Text.Json.Nodes;
using LazyMount.Blobs.Oci;
using LazyMount.TestKit;
using Xunit;

namespace LazyMount.Tests.Blobs.Oci;

/// <summary>Documents as Go's encoding/json writes them, with skopeo as the oracle.</summary>
public sealed class GoJsonObjectTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private static string WriteIndex(string json) => Encoding.UTF8.GetString(GoJsonObject.ReadIndex(Encoding.UTF8.GetBytes(json)).ToBytes());

    [Theory]
    [InlineData("""{"manifests": [], "schemaVersion": 2}""", """{"schemaVersion":2,"manifests":[]}""")]
    [InlineData("""{"schemaVersion":2,"annotations":{},"mediaType":"","subject":null,"manifests":[{"size":1,"digest":"d","urls":[],"mediaType":""}]}""", """{"schemaVersion":2,"manifests":[{"mediaType":"","digest":"d","size":1}]}""")]
    [InlineData("""{"annotations":{"b":"1","a":"2","B":"3","\ud83d\ude00":"4","\uffff":"5"}}""", "{\"annotations\":{\"B\":\"3\",\"a\":\"2\",\"b\":\"1\",\"\uffff\":\"5\",\"\U0001F600\":\"4\"}}")]
    [InlineData("""{"annotations":{"a":"<b>&\"\\\/\n\t\u0001\u2028é+'"}}""", "{\"annotations\":{\"a\":\"\\u003cb\\u003e\\u0026\\\"\\\\/\\n\\t\\u0001\\u2028é+'\"}}")]
    [InlineData("""{"ManifestS":[{"Digest":"d","PLATFORM":{"variant":"v8","os.features":["x"],"os":"linux","architecture":"arm64"}}]}""", """{"manifests":[{"digest":"d","platform":{"architecture":"arm64","os":"linux","os.features":["x"],"variant":"v8"}}]}""")]
    [InlineData("""{"x":{"z":1.50,"y":[null,true]},"schemaVersion":2,"manifests":[{"later":"<","digest":"d"}]}""", """{"schemaVersion":2,"manifests":[{"digest":"d","later":"\u003c"}],"x":{"z":1.50,"y":[null,true]}}""")]
    [InlineData("""{"x":1,"x":2}""", """{"x":2}""")]
    public void Index_IsWrittenInTheOrderOfGosStruct(string json, string written) => Assert.Equal(written, WriteIndex(json));

    [Fact]
    public void IndexThatSkopeoWrote_IsWrittenAsItIs()
    {
        var layout = new OciLayoutBuilder(_directory.CreateDirectory("layout"));
        layout.AddLayer(new TarBytes().File("a", "a")).WriteImageIndex("v1", "linux/amd64", "linux/arm64");
        JsonNode roots = JsonNode.Parse(File.ReadAllBytes(Path.Combine(layout.Directory, "index.json")))!;
        JsonNode index = JsonNode.Parse(File.ReadAllBytes(layout.BlobFile((string)roots["manifests"]![0]!["digest"]!)))!;
        // skopeo 1.9 drops the artifactType, and so has to write the whole index anew.
        index["manifests"]![0]!["artifactType"] = "text/plain";
        index["manifests"]![1]!["annotations"] = new JsonObject { ["z"] = "<a href=\"x\">&'+\u2028é</a>", ["a"] = "\u0001\t\\" };
        index["annotations"] = new JsonObject { ["later"] = "1", ["Earlier"] = "2" };
        byte[] bytes = Encoding.UTF8.GetBytes(index.ToJsonString());
        string digest = OciLayoutBuilder.DigestOf(bytes);
        File.WriteAllBytes(layout.BlobFile(digest), bytes);
        (roots["manifests"]![0]!["digest"], roots["manifests"]![0]!["size"]) = (digest, bytes.Length);
        File.WriteAllText(Path.Combine(layout.Directory, "index.json"), roots.ToJsonString());

        Tool.Run("skopeo", "copy", "--quiet", "--all", layout.Reference("v1"), $"oci:{_directory["copy"]}:v1").EnsureSuccess();

        string written = Tool.Run("skopeo", "inspect", "--raw", $"oci:{_directory["copy"]}:v1").EnsureSuccess().Output;
        Assert.DoesNotContain("text/plain", written);
        Assert.Equal(written, WriteIndex(written));
        index["manifests"]![0]!.AsObject().Remove("artifactType");
        Assert.Equal(written, WriteIndex(index.ToJsonString()));
    }
}
