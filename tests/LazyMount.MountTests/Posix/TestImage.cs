using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Sources;
using LazyMount.FileSystem;
using LazyMount.FileSystem.Erofs;
using LazyMount.Fuse;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Layers;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.MountTests.Posix;

/// <summary>
/// An image of real layers out of an OCI layout, opened by the real parts. Its blobs can be held back, so that a READ
/// waits as it would for a network.
/// </summary>
internal sealed class TestImage : IAsyncDisposable
{
    private readonly Layer[] _layers;
    private readonly SpanCache _spans;
    private readonly GatedSource _source;

    private readonly Image _opened;

    private TestImage(Image image, GatedSource source, (Layer Layer, LayerIndex Index)[] layers, SpanCache spans)
    {
        (_opened, _source, _layers, _spans) = (image, source, [.. layers.Select(each => each.Layer)], spans);
        Indexes = [.. layers.Select(each => each.Index)];
        FileSystem = new ImageFileSystem(TreeBuilder.Build(Indexes), _layers, NullLogger<ImageFileSystem>.Instance);
    }

    public ImageFileSystem FileSystem { get; }

    /// <summary>Lowest first.</summary>
    public IReadOnlyList<LayerIndex> Indexes { get; }

    /// <param name="directory">Where the layout and the cache are made.</param>
    /// <param name="layers">Lowest first; the last is stored uncompressed.</param>
    public static async Task<TestImage> CreateAsync(TemporaryDirectory directory, params TarBytes[] layers)
    {
        var layout = new OciLayoutBuilder(directory.CreateDirectory("layout"));
        foreach (TarBytes layer in layers[..^1])
        {
            layout.AddLayer(layer);
        }
        byte[] last = layers[^1].ToArray();
        layout.AddLayer(last, OciLayoutBuilder.TarLayer, OciLayoutBuilder.DigestOf(last));
        layout.WriteImage("test");

        ImageReference reference = ImageReference.Parse(layout.Reference("test"));
        ILoggerFactory loggers = NullLoggerFactory.Instance;
        var cache = new BlobCache(directory["cache"]);
        var source = new GatedSource(ImageSource.Open(reference, new RegistryOptions(), loggers));
        Image image = await Image.ResolveAsync(reference, source, new("linux", "amd64"), cache, default);
        var spans = new SpanCache(64 << 20);
        return new TestImage(image, source, await new LayerReaders(new IndexFinder(cache, loggers), cache, loggers).OpenAsync(image, spans, null, default), spans);
    }

    /// <summary>Holds back the blobs from now on until it is disposed.</summary>
    public IDisposable HoldBlobs() => _source.Hold(null);

    /// <summary>Holds back one layer's blob only.</summary>
    public IDisposable HoldBlob(int layer) => _source.Hold(_opened.Layers[layer].Digest);

    /// <summary>Completes when a read waits for a blob that is held back.</summary>
    public Task SomebodyWaits => _source.SomebodyWaits;

    public FuseMount Mount(string directory, FuseMountOptions? options = null, MountFace face = MountFace.Fuse)
    {
        using MountDirectory opened = MountDirectory.Open(directory);
        return Mount(opened, options, face);
    }

    public FuseMount Mount(MountDirectory directory, FuseMountOptions? options = null, MountFace face = MountFace.Fuse)
    {
        options ??= new FuseMountOptions { Source = "test:image" };
        return face == MountFace.Fuse
            ? FuseMount.Mount(directory, FileSystem, options, NullLoggerFactory.Instance)
            : FuseMount.MountErofs(directory, OpenImageFile(), options, NullLoggerFactory.Instance);
    }

    private ImageFileSystem OpenImageFile() => new(new ErofsImage(FileSystem.Tree), _layers, NullLogger<ImageFileSystem>.Instance);

    public async ValueTask DisposeAsync()
    {
        foreach (Layer layer in _layers)
        {
            layer.Dispose();
        }
        _spans.Dispose();
        await _source.DisposeAsync();
    }

    private sealed class GatedSource(IImageSource inner) : IImageSource
    {
        private TaskCompletionSource? _gate;
        private Blobs.Oci.Digest? _held;
        private TaskCompletionSource _waits = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public bool IsLocal => true;

        public bool IsVerified => true;

        public bool Distrust(Blobs.Oci.Descriptor blob) => inner.Distrust(blob);

        public Blobs.Oci.Digest? DiffIdOf(Blobs.Oci.Digest blob) => inner.DiffIdOf(blob);

        public Task<IReadOnlyList<Blobs.Oci.Descriptor>> GetReferrersAsync(Blobs.Oci.Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
            => inner.GetReferrersAsync(subject, artifactTypes, cancellationToken);

        public IAsyncEnumerable<string> ListTagsAsync(Action<string> note, CancellationToken cancellationToken) => inner.ListTagsAsync(note, cancellationToken);

        public Task SomebodyWaits => _waits.Task;

        public IDisposable Hold(Blobs.Oci.Digest? blob)
        {
            _held = blob;
            _waits = new(TaskCreationOptions.RunContinuationsAsynchronously);
            _gate = new(TaskCreationOptions.RunContinuationsAsynchronously);
            return new Opener(this);
        }

        public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken) => inner.GetRootAsync(cancellationToken);

        public Task<RawManifest> GetManifestAsync(Blobs.Oci.Descriptor descriptor, CancellationToken cancellationToken)
            => inner.GetManifestAsync(descriptor, cancellationToken);

        public async Task<Stream> OpenBlobAsync(Blobs.Oci.Descriptor blob, long offset, long length, CancellationToken cancellationToken)
        {
            if (_gate is { } gate && (_held is null || _held == blob.Digest))
            {
                _waits.TrySetResult();
                await gate.Task.WaitAsync(cancellationToken);
            }
            return await inner.OpenBlobAsync(blob, offset, length, cancellationToken);
        }

        public ValueTask DisposeAsync() => inner.DisposeAsync();

        private sealed class Opener(GatedSource source) : IDisposable
        {
            public void Dispose()
            {
                source._gate?.TrySetResult();
                source._gate = null;
            }
        }
    }
}
