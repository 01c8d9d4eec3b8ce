namespace LazyMount.Fuse;

/// <summary>libc, 1:1: C types in, C results out; policy lives with the callers. 64-bit Linux.</summary>
internal static unsafe partial class Interop
{
    private const string Libc = "libc";

    /// <summary>Error numbers of system calls that callers tell apart.</summary>
    internal const int EPERM = 1;
    internal const int ENOENT = 2;
    internal const int ESRCH = 3;
    internal const int EINTR = 4;
    internal const int ENXIO = 6;
    internal const int EAGAIN = 11;
    internal const int EACCES = 13;
    internal const int ENOTBLK = 15;
    internal const int EBUSY = 16;
    internal const int ENODEV = 19;
    internal const int ENOTDIR = 20;
    internal const int EINVAL = 22;
    internal const int EMFILE = 24;
    internal const int ENOSPC = 28;
    internal const int ENOSYS = 38;
    internal const int ELOOP = 40;
    internal const int ECONNABORTED = 103;
    internal const int ENOTCONN = 107;
}
