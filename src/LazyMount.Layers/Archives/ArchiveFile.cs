using System.Buffers;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Layout;
using LazyMount.Blobs.Oci;
using LazyMount.Blobs.Sources;
using LazyMount.Compression;
using LazyMount.Indexes.Build;
using LazyMount.Indexes.Format;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Store;
using LazyMount.Indexes.Tar;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Layers.Archives;

/// <summary>
/// A tar file read in place. Nothing is unpacked or copied: a plain one is scanned by hopping from header to header, and
/// its members are ranges of the file. One that is compressed as a whole is a <see cref="Layer"/> like any other: one pass
/// finds its members and sets checkpoints, which are kept in the cache under the file's identity, and members are ranges of
/// its content.
/// <para>The file stays open, so that it can be replaced or deleted under a running mount. Nothing here verifies what a
/// plain one holds: whoever reads blobs does, and finds out when the file is overwritten.</para>
/// </summary>
internal sealed class ArchiveFile : LayoutFiles
{
    // The layers' spans are kept by their own cache: this is for what is read next to what has just been read.
    private const long SpanCapacity = 16 << 20;
    private const int ScanBufferSize = 64 << 10;

    private readonly SafeFileHandle _file;
    private readonly SpanCache? _spans;
    private readonly Layer? _layer; // null: not compressed

    private ArchiveFile(string path, SafeFileHandle file, Digest key, ArchiveTable table, SpanCache? spans, Layer? layer)
        => (Path, _file, Key, Table, _spans, _layer) = (path, file, key, table, spans, layer);

    /// <summary>As the user wrote it.</summary>
    public string Path { get; }

    /// <summary>The key of this state of the file, under which data about its content may be kept.</summary>
    public Digest Key { get; }

    public ArchiveTable Table { get; }

    /// <inheritdoc/>
    public override SafeFileHandle Archive => _file;

    /// <exception cref="ImageException">It is not there, or not a file that can be read at random, or not a tar.</exception>
    public static async Task<ArchiveFile> OpenAsync(
        ImageReference reference, SafeFileHandle? opened, BlobCache cache, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        FileIdentity identity = default;
        SafeFileHandle file = opened ?? OpenFile(reference, out identity);
        identity = opened is null ? identity : IdentityOf(file);
        string fullPath = PathText.FullPath(reference.Location);
        Digest key = identity.KeyFor(fullPath);
        (SpanCache? spans, Layer? layer) = (null, null);
        try
        {
            if (identity.Size == 0)
            {
                throw new InvalidDataException("it is empty");
            }
            var head = new byte[TarHeader.BlockSize];
            int length = RandomAccess.Read(file, head, 0);
            if (Decompressor.Detect(head.AsSpan(0, length)) == CompressionFormat.None)
            {
                return new ArchiveFile(reference.Location, file, key, Scan(file, identity.Size, cancellationToken), null, null);
            }
            var source = new FileSource(file, $"the archive '{reference.Location}'");
            var whole = new Descriptor("", key, identity.Size);
            LayerIndex index = await GetIndexAsync(whole, source, cache, loggers, cancellationToken).ConfigureAwait(false);
            spans = new SpanCache(SpanCapacity);
            Func<Task> rebuild = () => IndexAsync(whole, source, cache, loggers, CancellationToken.None);
            layer = new Layer(index, new SpanSource(source, cache, loggers).Open(whole, index, ChunkScope.Shared, rebuild), spans);
            return new ArchiveFile(reference.Location, file, key, new ArchiveTable(index.Paths, index.Entries, index.LinkTargets), spans, layer);
        }
        catch (Exception e)
        {
            layer?.Dispose();
            spans?.Dispose();
            file.Dispose();
            switch (e)
            {
                case InvalidDataException:
                    throw new ImageException(ImageError.Invalid, $"cannot read the archive '{reference.Location}': {e.Message}; make it again", e);
                case NotSupportedException:
                    throw new ImageException(ImageError.Unsupported, $"cannot read the archive '{reference.Location}': {e.Message}", e);
                case IOException and not ImageException:
                    throw new ImageException(ImageError.Local, $"cannot read the archive '{reference.Location}': {FileProblem.Reason(e)}", e);
                default:
                    throw;
            }
        }
    }

    public override string NameOf(string path) => $"the file '{path}' in the archive '{Path}'";

    public override bool Exists(string path) => Find(path) is not null;

    public override Stream Open(string path, long offset, long? length, out long size)
    {
        ArchiveMember member = Find(path)
            ?? throw new ImageException(ImageError.NotFound, $"cannot read {NameOf(path)}: there is no such file; make the archive again");
        size = member.Size;
        return Open(member, offset, length ?? member.Size - offset);
    }

    /// <summary>A range of a member, which must lie within it.</summary>
    public Stream Open(ArchiveMember member, long offset, long length)
    {
        length = Math.Min(length, Math.Max(0, member.Size - offset)); // who asks for more is told the size
        return _layer is null
            ? new FileRangeStream(_file, $"the archive '{Path}'", member.Offset + offset, length, leaveOpen: true)
            : new LayerRangeStream(_layer, $"the archive '{Path}'", member.Offset + offset, length);
    }

    public ArchiveMember? Find(string path)
    {
        try
        {
            return Table.Find(path);
        }
        catch (InvalidDataException e)
        {
            throw new ImageException(ImageError.Invalid, $"cannot read the archive '{Path}': {e.Message}; make it again", e);
        }
    }

    protected override void Dispose(bool disposing)
    {
        _layer?.Dispose();
        _spans?.Dispose();
        _file.Dispose();
        base.Dispose(disposing);
    }

    private static FileIdentity IdentityOf(SafeFileHandle file)
        => FileIdentity.TryOf(file) ?? new FileIdentity(FileKind.Regular, RandomAccess.GetLength(file), 0, 0, 0, File.GetLastWriteTimeUtc(file).Ticks, 0);

    private static SafeFileHandle OpenFile(ImageReference reference, out FileIdentity identity)
    {
        string path = reference.Location;
        switch (FileIdentity.TryOf(path)?.Kind)
        {
            case FileKind.Directory:
                throw new ImageException(ImageError.Invalid, $"cannot use '{path}' as an archive: it is a directory; for an OCI layout write oci:{path}");
            case FileKind.Other:
                throw new ImageException(ImageError.Unsupported, $"cannot use '{path}' as an archive: it is not a regular file; copy it to a regular file first");
        }
        try
        {
            SafeFileHandle file = File.OpenHandle(PathText.ForCalls(path), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FileOptions.RandomAccess);
            identity = IdentityOf(file);
            return file;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            string colon = reference.Tag is null && reference.SourceIndex is null ? "" : ", which ends at the first colon; for a name with a colon make a symbolic link without one";
            throw new ImageException(ImageError.NotFound, $"cannot open the archive '{path}': there is no such file; check the path{colon}", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ImageException(ImageError.Denied, $"cannot read the archive '{path}': {FileProblem.Reason(e)}; ask its owner for permission", e);
        }
        catch (IOException e)
        {
            throw new ImageException(ImageError.Local, $"cannot open the archive '{path}': {FileProblem.Reason(e)}", e);
        }
    }

    private static ArchiveTable Scan(SafeFileHandle file, long size, CancellationToken cancellationToken)
    {
        var entries = new LayerEntriesBuilder(new IndexBudget(size));
        ReadMembers(file, size, member =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            entries.Add(member);
            return true;
        });
        return new ArchiveTable(entries.BuildPaths(), entries.BuildEntries(), entries.BuildLinkTargets());
    }

    /// <summary>Reads the headers of a tar file. The member is valid during the call that gets it.</summary>
    /// <exception cref="InvalidDataException">The file is not a tar, or is truncated.</exception>
    /// <exception cref="NotSupportedException">The file has a member of a kind that is not supported.</exception>
    internal static void ReadMembers(SafeFileHandle file, long size, Func<TarMember, bool> goesOn)
    {
        var scanner = new TarScanner();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(ScanBufferSize);
        try
        {
            long position = 0;
            while (position < size)
            {
                // Contents are passed over; between them a header is all that is wanted, unless many lie close together.
                long skip = Math.Min(scanner.Skippable, size - position);
                scanner.Skip(skip);
                position += skip;
                int wanted = skip >= ScanBufferSize ? TarHeader.BlockSize : ScanBufferSize;
                int read = RandomAccess.Read(file, buffer.AsSpan(0, wanted), position);
                if (read == 0)
                {
                    break;
                }
                position += read;
                ReadOnlySpan<byte> piece = buffer.AsSpan(0, read);
                while (scanner.TryRead(ref piece))
                {
                    if (!goesOn(scanner.Member))
                    {
                        return;
                    }
                }
            }
            scanner.Complete();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task<LayerIndex> GetIndexAsync(Descriptor whole, FileSource source, BlobCache cache, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        string stored = System.IO.Path.Combine(cache.GetDirectory("archives"), whole.Digest.Hex);
        if (LayerIndexFile.TryLoad(stored, whole.Digest, new IndexBudget(whole.Size)) is { } known)
        {
            if (known.CompressedSize == whole.Size && IndexFinder.IsTranscodingThere(known, cache))
            {
                return known;
            }
            known.Close();
        }
        LayerIndex index = await IndexAsync(whole, source, cache, loggers, cancellationToken).ConfigureAwait(false);
        try
        {
            return LayerIndexFile.Save(stored, index, cache);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            loggers.CreateLogger<ArchiveFile>().IndexNotSaved(whole.Digest.ToString(), e.Message);
        }
        return index;
    }

    private static async Task<LayerIndex> IndexAsync(Descriptor whole, FileSource source, BlobCache cache, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        for (bool transcodesGzip = false; ; transcodesGzip = true)
        {
            Stream stream = await source.OpenBlobAsync(whole, 0, whole.Size, cancellationToken).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                try
                {
                    var indexer = new LayerIndexer(loggers.CreateLogger<ArchiveFile>()) { StageTranscoding = () => cache.StageDerived(whole.Digest), TranscodesGzip = transcodesGzip };
                    return await indexer.IndexArchiveAsync(whole, stream, cancellationToken).ConfigureAwait(false);
                }
                catch (NeedsTranscodingException) when (!transcodesGzip)
                {
                }
            }
        }
    }

    /// <summary>The file as the one blob that its checkpoints are of.</summary>
    private sealed class FileSource(SafeFileHandle file, string subject) : IBlobSource
    {
        public bool IsLocal => true;

        public bool IsVerified => true;

        public bool Distrust(Descriptor blob) => false;

        public Task<Stream> OpenBlobAsync(Descriptor blob, long offset, long length, CancellationToken cancellationToken)
            => Task.FromResult<Stream>(new FileRangeStream(file, subject, offset, length, leaveOpen: true));
    }
}
