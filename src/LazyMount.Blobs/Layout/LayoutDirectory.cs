using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Layout;

/// <summary>A layout that is a directory.</summary>
internal sealed class LayoutDirectory : LayoutFiles
{
    private readonly string _named;
    private readonly string _directory; // the same, as file calls take it
    private readonly string _location;

    public LayoutDirectory(ImageReference reference)
    {
        (_named, _location) = (PathText.FullPath(reference.Location), reference.Location);
        _directory = PathText.ForCalls(_named);
        if (!IsDirectory(reference))
            throw new ImageException(ImageError.Invalid, $"cannot use '{reference.Location}' as an OCI layout directory: it is a file; for an archive write oci-archive:{reference.Location} or docker-archive:{reference.Location}");
    }

    private bool IsDirectory(ImageReference reference)
    {
        try
        {
            return File.GetAttributes(_directory).HasFlag(FileAttributes.Directory);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ImageException(ImageError.NotFound, $"cannot open the layout '{reference.Location}': there is no such directory; check the path", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ImageException(ImageError.Denied, $"cannot read the layout '{reference.Location}': {FileProblem.Reason(e)}; ask its owner for permission", e);
        }
        catch (IOException e)
        {
            throw new ImageException(ImageError.Local, $"cannot read the layout '{reference.Location}': {FileProblem.Reason(e)}", e);
        }
    }

    public override string NameOf(string path) => $"the layout's file '{Path.Combine(_named, path)}'";

    public override bool Exists(string path) => File.Exists(Path.Combine(_directory, path));

    public override Stream Open(string path, long offset, long? length, out long size)
    {
        string name = NameOf(path);
        path = Path.Combine(_directory, path);
        if (FileIdentity.TryOf(path) is { Kind: not FileKind.Regular })
            throw new ImageException(ImageError.Invalid, $"cannot read {name}: it is not a regular file; copy the image again");
        try
        {
            SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            size = RandomAccess.GetLength(file);
            return new FileRangeStream(file, name, offset, length ?? size - offset);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ImageException(ImageError.NotFound, $"cannot read {name}: it is missing; copy the image again", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ImageException(ImageError.Denied, $"cannot read {name}: {FileProblem.Reason(e)}; ask its owner for permission", e);
        }
        catch (IOException e)
        {
            throw new ImageException(ImageError.Local, $"cannot read {name}: {FileProblem.Reason(e)}", e);
        }
    }

    public override void Write(string path, ReadOnlySpan<byte> bytes)
    {
        string target = Path.Combine(_directory, path);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            // Staged in the root: what lies among the blobs is a blob to all readers. Others read this, and it may be the only copy.
            using AtomicFile file = AtomicFile.Create(_directory, AtomicFile.Shared, bytes.Length);
            RandomAccess.Write(file.Handle, bytes, 0);
            file.Commit(target, durable: true);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new ImageException(e is UnauthorizedAccessException ? ImageError.Denied : ImageError.Local, $"cannot write '{path}' in the layout '{_location}': {FileProblem.Reason(e)}; {FileProblem.Advice(e, "it", "use another layout")}", e);
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
            throw new ImageException(ImageError.Invalid, $"cannot write '{path}' in the layout '{_location}': it would have {changed.Length} bytes, more than the maximum of {maxSize}; use another layout");
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
            throw new ImageException(e is UnauthorizedAccessException ? ImageError.Denied : ImageError.Local, $"cannot write '{path}' in the layout '{_location}': {FileProblem.Reason(e)}; {FileProblem.Advice(e, "it", "use another layout")}", e);
        }
        if (turn is not null)
            return turn;
        string holder = CrossProcessLock.FindHolder(_directory) is { } process ? $"process {process}" : "another process";
        throw new ImageException(ImageError.Local, $"cannot write '{path}' in the layout '{_location}': {holder} has been changing the layout for {Patience.TotalSeconds:0} s; end that process if it hangs or is stopped, and try again");
    }
}
