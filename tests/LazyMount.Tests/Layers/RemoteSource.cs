using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Tests.Blobs;
using Microsoft.Extensions.Logging.Abstractions;

namespace LazyMount.Tests.Layers;

/// <summary>A layout that behaves as a remote source does: blobs must be cached, can fail, stall, or come in small pieces.</summary>
internal sealed class RemoteSource(string layoutReference) : IImageSource
{
    private readonly IImageSource _layout = ImageSource.Open(ImageReference.Parse(layoutReference), TestRegistries.Options, NullLoggerFactory.Instance);
    private int _opened;

    public string Reference => layoutReference;

    public bool IsLocal { get; init; }

    public bool IsVerified { get; set; } = true;

    public bool Distrust(Descriptor blob) => false;

    public Digest? DiffIdOf(Digest blob) => null;

    public Task<IReadOnlyList<Descriptor>> GetReferrersAsync(Digest subject, IReadOnlyList<string> artifactTypes, CancellationToken cancellationToken)
        => Task.FromResult<IReadOnlyList<Descriptor>>([]);

    public IAsyncEnumerable<string> ListTagsAsync(Action<string> note, CancellationToken cancellationToken) => AsyncEnumerable.Empty<string>();

    /// <summary>Called before each range is opened.</summary>
    public Func<Descriptor, long, CancellationToken, Task>? BeforeOpen { get; set; }

    /// <summary>Called before each read, with the blob and the bytes of it read so far.</summary>
    public Func<Descriptor, long, CancellationToken, Task>? BeforeRead { get; set; }

    /// <summary>Changes the bytes of each range as it is opened.</summary>
    public Action<byte[]>? Damage { get; set; }

    public int Opened => _opened;

    public Task<RawManifest> GetRootAsync(CancellationToken cancellationToken) => _layout.GetRootAsync(cancellationToken);

    public Task<RawManifest> GetManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) => _layout.GetManifestAsync(descriptor, cancellationToken);

    public async Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _opened);
        if (BeforeOpen is not null)
        {
            await BeforeOpen(blob, offset, cancellationToken);
        }
        if (Damage is not null)
        {
            byte[] bytes = new byte[length];
            await using (Stream stream = await _layout.OpenBlobAsync(blob, offset, length, cancellationToken))
            {
                await stream.ReadExactlyAsync(bytes, cancellationToken);
            }
            Damage(bytes);
            return new ObservedStream(new MemoryStream(bytes), blob, this);
        }
        return new ObservedStream(await _layout.OpenBlobAsync(blob, offset, length, cancellationToken), blob, this);
    }

    public ValueTask DisposeAsync() => _layout.DisposeAsync();

    private sealed class ObservedStream(Stream inner, Descriptor blob, RemoteSource source) : Stream
    {
        private long _read;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (source.BeforeRead is not null)
            {
                await source.BeforeRead(blob, _read, cancellationToken);
            }
            int length = await inner.ReadAsync(buffer[..Math.Min(buffer.Length, 5000)], cancellationToken);
            _read += length;
            return length;
        }

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
        public override void Flush() => throw new NotSupportedException();
        public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
