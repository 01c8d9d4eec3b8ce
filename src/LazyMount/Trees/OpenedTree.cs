using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.FileSystem;
using LazyMount.Images;
using LazyMount.Output;
using Microsoft.Extensions.Logging;
using FileMode = LazyMount.FileSystem.FileMode;

namespace LazyMount.Trees;

/// <summary>An image opened for one command that reads its tree: looks up paths and reads files, with errors in words.</summary>
internal sealed class OpenedTree : IAsyncDisposable
{
    private const int ReadSize = 1 << 20;

    private readonly ILoggerFactory? _loggers; // owned
    private Exception? _readFailure;

    private OpenedTree(OpenedImage image, ILoggerFactory? loggers)
    {
        (Image, _loggers) = (image, loggers);
        image.FileSystem.ReadFailed = cause => _readFailure = cause;
    }

    public OpenedImage Image { get; }

    public ImageTree Tree => Image.Tree;

    /// <summary>Takes over an image that is open.</summary>
    public static OpenedTree Of(OpenedImage image) => new(image, null);

    public static async Task<OpenedTree> OpenAsync(string reference, CommandSettings settings, CommandHost host, CancellationToken cancellationToken)
    {
        ImageReference parsed = ImageArgument.Parse(reference);
        ILoggerFactory loggers = Loggers.ForCommand(settings);
        try
        {
            return new OpenedTree(await host.OpenImageAsync(parsed, settings, loggers, cancellationToken), loggers);
        }
        catch
        {
            loggers.Dispose();
            throw;
        }
    }

    /// <summary>What a path names, or a <see cref="CommandException"/> that says why it names nothing.</summary>
    public ResolvedPath Find(ReadOnlySpan<byte> path, bool follow)
        => PathResolver.Resolve(Tree, path, follow, out ResolvedPath resolved) switch
        {
            Errno.None => resolved,
            Errno.ENOENT => throw PathError("find", path, "no such file or directory"),
            Errno.ENOTDIR => throw PathError("find", path, "a part of the path is not a directory"),
            Errno.ELOOP => throw PathError("find", path, "too many levels of symbolic links"),
            Errno errno => throw PathError("find", path, errno.ToString()),
        };

    /// <summary>Writes a regular file's bytes to the output as they are.</summary>
    public async Task CopyAsync(string path, CommandOutput output, CancellationToken cancellationToken)
    {
        byte[] bytes = ImagePathText.Encode(path);
        ulong node = Find(bytes, follow: true).Node;
        NodeAttributes attributes = Tree.Attributes(node);
        if (!FileMode.IsRegular(attributes.Mode))
        {
            throw PathError("read", bytes, $"it is a {EntryFormat.TypeName(attributes.Mode)}; name a file");
        }
        await ReadAsync(node, path, output.Stream, cancellationToken);
    }

    /// <summary>The bytes of a small file that the command itself needs; null when the path leads to no regular file.</summary>
    /// <param name="path">The path; links are followed.</param>
    /// <param name="limit">The largest size that is read. A larger file is an error.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<byte[]?> TryReadAsync(string path, int limit, CancellationToken cancellationToken)
    {
        if (PathResolver.Resolve(Tree, ImagePathText.Encode(path), followFinal: true, out ResolvedPath resolved) != Errno.None
            || !FileMode.IsRegular(Tree.Mode(resolved.Node)))
        {
            return null;
        }
        if (Tree.Size(resolved.Node) > limit)
        {
            throw new CommandException($"cannot read '{path}' of the image: it has {ByteSize.Format(Tree.Size(resolved.Node))}, and {ByteSize.Format(limit)} is the limit");
        }
        using var bytes = new MemoryStream();
        await ReadAsync(resolved.Node, path, bytes, cancellationToken);
        return bytes.ToArray();
    }

    private async Task ReadAsync(ulong node, string path, Stream to, CancellationToken cancellationToken)
    {
        var data = new FileData();
        long size = Tree.Size(node);
        for (long offset = 0; offset < size; offset += data.Length)
        {
            await ReadAsync(node, offset, ReadSize, data, path, cancellationToken);
            for (int piece = 0; piece < data.Count; piece++)
            {
                to.Write(data[piece]);
            }
        }
        data.Clear();
    }

    /// <summary>Reads bytes of a regular file, of which there must be at least one from there on.</summary>
    /// <param name="node">The file.</param>
    /// <param name="offset">Where they begin.</param>
    /// <param name="length">How many at most.</param>
    /// <param name="data">Holds them until it is cleared, and none that it held before.</param>
    /// <param name="name">What failures call the file.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="CommandException">They cannot be read.</exception>
    public async Task ReadAsync(ulong node, long offset, int length, FileData data, string name, CancellationToken cancellationToken)
    {
        data.Clear();
        Errno errno = await Image.FileSystem.ReadAsync(node, offset, length, data, cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        if (errno != Errno.None || data.Length == 0)
        {
            Exception? cause = _readFailure;
            throw new CommandException(
                $"{name}: cannot read at byte {offset}: {cause?.Message ?? "input/output error"}", cause is null ? ExitCode.Failed : Failure.ExitCodeOf(cause), cause);
        }
    }

    private CommandException PathError(string verb, ReadOnlySpan<byte> path, string reason)
        => new($"cannot {verb} '{ImagePathText.Decode(path)}' in '{Image.Image.Reference}': {reason}");

    public async ValueTask DisposeAsync()
    {
        await Image.DisposeAsync();
        _loggers?.Dispose();
    }
}
