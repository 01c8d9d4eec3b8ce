namespace LazyMount.FileSystem;

/// <summary>Linux error numbers that file-system operations answer with. 0 is success.</summary>
public enum Errno
{
    /// <summary>Success.</summary>
    None = 0,
    /// <summary>Operation not permitted.</summary>
    EPERM = 1,
    /// <summary>No such file or directory.</summary>
    ENOENT = 2,
    /// <summary>Interrupted.</summary>
    EINTR = 4,
    /// <summary>Input/output error.</summary>
    EIO = 5,
    /// <summary>No such device or address; of lseek(2): nothing there.</summary>
    ENXIO = 6,
    /// <summary>Try again.</summary>
    EAGAIN = 11,
    /// <summary>Permission denied.</summary>
    EACCES = 13,
    /// <summary>Not a directory.</summary>
    ENOTDIR = 20,
    /// <summary>Is a directory.</summary>
    EISDIR = 21,
    /// <summary>Invalid argument.</summary>
    EINVAL = 22,
    /// <summary>No such ioctl for this file.</summary>
    ENOTTY = 25,
    /// <summary>Read-only file system.</summary>
    EROFS = 30,
    /// <summary>Result too large.</summary>
    ERANGE = 34,
    /// <summary>File name too long.</summary>
    ENAMETOOLONG = 36,
    /// <summary>Function not implemented.</summary>
    ENOSYS = 38,
    /// <summary>Too many levels of symbolic links.</summary>
    ELOOP = 40,
    /// <summary>No such attribute.</summary>
    ENODATA = 61,
    /// <summary>Operation not supported.</summary>
    EOPNOTSUPP = 95,
}
