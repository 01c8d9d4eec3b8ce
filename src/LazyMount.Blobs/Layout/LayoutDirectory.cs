using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>A layout that is a directory.</summary>
internal sealed class LayoutDirectory : LayoutFiles
{
    // Of files that are not complete yet. They stand in the root: what lies among the blobs is a blob to all readers.
    internal const string StagedPrefix = ".lazymount-";

    private readonly string _directory;
    private readonly string _location;

    public LayoutDirectory(ImageReference reference)
    {
        (_directory, _location) = (Path.GetFullPath(reference.Location), reference.Location);
        if (!IsDirectory(reference))
            throw new ImageException(ImageError.Invalid, $"{reference.Location} is a file, not an OCI layout directory: for an archive write oci-archive:{reference.Location} or docker-archive:{reference.Location}.");
    }

    private bool IsDirectory(ImageReference reference)
    {
        try
        {
            return File.GetAttributes(_directory).HasFlag(FileAttributes.Directory);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ImageException(ImageError.NotFound, $"There is no directory {reference.Location} for {reference}: check the path.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ImageException(ImageError.Denied, $"The layout {reference.Location} may not be read: ask its owner for permission.", e);
        }
        catch (IOException e)
        {
            throw new ImageException(ImageError.Local, $"The layout {reference.Location} cannot be read: {e.Message}", e);
        }
    }

    public override string NameOf(string path) => $"the layout's file {Path.Combine(_directory, path)}";

    public override bool Exists(string path) => File.Exists(Path.Combine(_directory, path));

    public override Stream Open(string path, long offset, long? length, out long size)
    {
        path = Path.Combine(_directory, path);
        if (FileIdentity.TryOf(path) is { Kind: not FileKind.Regular })
            throw new ImageException(ImageError.Invalid, $"The layout's file {path} is not a regular file: the layout is damaged, copy the image again.");
        try
        {
            SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            size = RandomAccess.GetLength(file);
            return new FileRangeStream(file, $"The layout's file {path}", offset, length ?? size - offset);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ImageException(ImageError.NotFound, $"The layout's file {path} is missing: copy the image again.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ImageException(ImageError.Denied, $"The layout's file {path} may not be read: ask its owner for permission.", e);
        }
        catch (IOException e)
        {
            throw new ImageException(ImageError.Local, $"The layout's file {path} cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Where a file may stand until it is complete; <see cref="BlobStaging.Sweep"/> finds what nobody writes any more.</summary>
    internal static string NewStagedPath(string directory) => Path.Combine(directory, $"{StagedPrefix}{Guid.NewGuid():N}{BlobStaging.Suffix}");

    public override void Write(string path, ReadOnlySpan<byte> bytes)
    {
        string target = Path.Combine(_directory, path);
        string staged = NewStagedPath(_directory);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            using (SafeFileHandle file = File.OpenHandle(staged, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                RandomAccess.Write(file, bytes, 0);
                RandomAccess.FlushToDisk(file); // others read this, and it may be the only copy
            }
            File.Move(staged, target, overwrite: true); // no longer locked: readers open it at once
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(staged);
            throw new ImageException(e is UnauthorizedAccessException ? ImageError.Denied : ImageError.Local, $"Cannot write {path} in {_location}: {e.Message}", e);
        }
    }

    /// <summary>How long another process may take for a change: one that is stopped must not hold up all others for ever.</summary>
    internal static TimeSpan DefaultPatience { get; } = TimeSpan.FromSeconds(60);

    internal TimeSpan Patience { get; init; } = DefaultPatience;

    public override async Task ChangeAsync(string path, int maxSize, Func<ReadOnlyMemory<byte>?, byte[]?> change, CancellationToken cancellationToken)
    {
        using CrossProcessLock turn = await TakeTurnAsync(path, cancellationToken).ConfigureAwait(false);
        if (change(Exists(path) ? ReadAll(path, maxSize) : (ReadOnlyMemory<byte>?)null) is not { } changed)
            return;
        if (changed.Length > maxSize)
            throw new ImageException(ImageError.Invalid, $"Cannot write {path} in {_location}: it would have {changed.Length} bytes, and {maxSize} is the most that is accepted; use another layout.");
        Write(path, changed);
    }

    private async Task<CrossProcessLock> TakeTurnAsync(string path, CancellationToken cancellationToken)
    {
        CrossProcessLock? turn;
        try
        {
            turn = await CrossProcessLock.TryTakeAsync(_directory, Patience, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException(e is UnauthorizedAccessException ? ImageError.Denied : ImageError.Local, $"Cannot write {path} in {_location}: {e.Message}", e);
        }
        if (turn is not null)
            return turn;
        string holder = CrossProcessLock.FindHolder(_directory) is { } process ? $"process {process}" : "another process";
        throw new ImageException(ImageError.Local, $"Cannot write {path} in {_location}: {holder} has been changing the layout for {Patience.TotalSeconds:0} s; end that process if it hangs or is stopped, and try again.");
    }
}
