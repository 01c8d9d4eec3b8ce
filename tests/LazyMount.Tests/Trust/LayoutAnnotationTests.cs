using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Sources;
using LazyMount.Indexes.Published.Soci;
using LazyMount.TestKit;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace LazyMount.Tests.Trust;

/// <summary>No digest covers the index.json of a layout, so what it says of an image vouches for nothing.</summary>
public sealed class LayoutAnnotationTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task AnnotationInIndexJson_NamesNoIndexOfTheImage()
    {
        var layout = new OciLayoutBuilder(_directory["layout"]);
        layout.AddLayer(new TarBytes().File("file", "content")).WriteImage("test");
        string index = Path.Combine(layout.Directory, "index.json");
        string name = "\"org.opencontainers.image.ref.name\"", digest = "sha256:" + new string('a', 64);
        string text = await File.ReadAllTextAsync(index, TestContext.Current.CancellationToken);
        Assert.Contains(name, text, StringComparison.Ordinal);
        await File.WriteAllTextAsync(index, text.Replace(name, $"\"com.amazon.soci.index-digest\":\"{digest}\",{name}", StringComparison.Ordinal), TestContext.Current.CancellationToken);
        ImageReference reference = ImageReference.Parse(layout.Reference("test"));
        await using IImageSource source = ImageSource.Open(reference, TestRegistries.Options, NullLoggerFactory.Instance);
        Image image = await Image.ResolveAsync(reference, source, null, new BlobCache(_directory["cache"]), TestContext.Current.CancellationToken);
        Assert.Null(SociIndex.NamedBy(image));
    }
}
