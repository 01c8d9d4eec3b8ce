using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;
using Microsoft.Extensions.Logging;

namespace LazyMount.Fuse;

/// <summary>Every event that this part logs.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "mounted '{Source}' on '{Directory}' as {Type}: FUSE 7.{Minor}, {Flags}, {Threads} threads")]
    public static partial void Mounted(this ILogger logger, string source, string directory, string type, uint minor, InitFlags flags, int threads);

    [LoggerMessage(2, LogLevel.Information, "unmounted '{Directory}'")]
    public static partial void Unmounted(this ILogger logger, string directory);

    [LoggerMessage(3, LogLevel.Error, "request {Opcode} of {Path} failed: {Reason}")]
    public static partial void RequestFailed(this ILogger logger, FuseOpcode opcode, ImageFileSystem.NodeDescription path, string reason, Exception cause);

    [LoggerMessage(4, LogLevel.Warning, "malformed request {Opcode}: {Error}")]
    public static partial void MalformedRequest(this ILogger logger, FuseOpcode opcode, RequestError error);

    [LoggerMessage(5, LogLevel.Warning, "the kernel refused the reply to {Opcode} of {Path} with error {Errno}; it was answered EIO")]
    public static partial void ReplyRefused(this ILogger logger, FuseOpcode opcode, ImageFileSystem.NodeDescription path, int errno);

    [LoggerMessage(6, LogLevel.Error, "reading the FUSE device failed with error {Errno}; the mount ends")]
    public static partial void DeviceFailed(this ILogger logger, int errno);

    [LoggerMessage(7, LogLevel.Debug, "cannot clone the FUSE device (error {Errno}); the threads share one")]
    public static partial void CannotClone(this ILogger logger, int errno);

    [LoggerMessage(8, LogLevel.Warning, "'{Directory}' stays in the mount table, and every access to it fails: {Reason}")]
    public static partial void CannotUnmount(this ILogger logger, string directory, string reason);

    [LoggerMessage(9, LogLevel.Warning, "'{Directory}' stays in the mount table, because another mount covers it; unmount that one, then run lazymount umount '{Directory}'")]
    public static partial void Covered(this ILogger logger, string directory);

    [LoggerMessage(10, LogLevel.Information, "goes on serving '{Source}' on '{Directory}': {Threads} threads")]
    public static partial void Resumed(this ILogger logger, string source, string directory, int threads);

    [LoggerMessage(11, LogLevel.Error, "request {Opcode} of {Path} failed: the process that served the mount died {Deaths} times in a row while it had this request")]
    public static partial void RequestGivenUp(this ILogger logger, FuseOpcode opcode, ImageFileSystem.NodeDescription path, int deaths);
}
