using LazyMount.FileSystem;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>How to mount.</summary>
public sealed record FuseMountOptions
{
    /// <summary>What /proc/mounts shows as the source, such as the image reference.</summary>
    public required string Source { get; init; }

    /// <summary>Let other users than the mounting one in (modes still hold). Root always allows it.</summary>
    public bool AllowOther { get; init; }

    /// <summary>Show every node as owned by this user, or null.</summary>
    public uint? Uid { get; init; }

    /// <summary>Show every node as of this group, or null.</summary>
    public uint? Gid { get; init; }

    /// <summary>Honour setuid bits and file capabilities (root only; off by default).</summary>
    public bool Suid { get; init; }

    /// <summary>Honour device nodes (root only; off by default).</summary>
    public bool Dev { get; init; }

    /// <summary>Refuse to execute programs.</summary>
    public bool NoExec { get; init; }

    /// <summary>Reader threads; 0: one per core, at least 2.</summary>
    public int Threads { get; init; }
}

/// <summary>A failure to mount or unmount; the message is one sentence with the next step.</summary>
public sealed class FuseException(string message, Exception? inner = null) : IOException(message, inner);

/// <summary>A mounted image: owns the device, the reader threads and the mount point.</summary>
public sealed class FuseMount : IAsyncDisposable
{
    private FuseMount() => throw new NotImplementedException();

    /// <summary>Mounts and returns once the kernel's INIT has been answered, so that the tree answers. Throws <see cref="FuseException"/>.</summary>
    public static FuseMount Mount(string directory, ImageFileSystem fileSystem, FuseMountOptions options, ILoggerFactory loggers) => throw new NotImplementedException();

    /// <summary>Completes when the mount is gone, by whatever means.</summary>
    public Task Completion => throw new NotImplementedException();

    /// <summary>Unmounts. False when it is busy; with <paramref name="lazy"/> it is detached at once and ends when the last user leaves.</summary>
    public bool TryUnmount(bool lazy) => throw new NotImplementedException();

    /// <summary>Detaches if still mounted, waits for the threads, closes the device.</summary>
    public ValueTask DisposeAsync() => throw new NotImplementedException();
}
