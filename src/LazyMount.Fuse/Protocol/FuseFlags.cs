namespace LazyMount.Fuse.Protocol;

/// <summary>What kernel and server can do, exchanged by INIT; the upper half travels in flags2. The kernel's names without FUSE_.</summary>
[Flags]
internal enum InitFlags : ulong
{
    None = 0,
    AsyncRead = 1ul << 0,
    ExportSupport = 1ul << 4,
    DoReadDirPlus = 1ul << 13,
    AsyncDio = 1ul << 15,
    NoOpenSupport = 1ul << 17,
    ParallelDirOps = 1ul << 18,
    PosixAcl = 1ul << 20,
    MaxPages = 1ul << 22,
    CacheSymlinks = 1ul << 23,
    NoOpenDirSupport = 1ul << 24,
    ExplicitInvalData = 1ul << 25,
    InitExt = 1ul << 30,
    HasResend = 1ul << 39,
    AllowIdMap = 1ul << 40,
}

/// <summary>How the kernel treats an opened file. The kernel's names without FOPEN_.</summary>
[Flags]
internal enum OpenReplyFlags : uint
{
    None = 0,
    KeepCache = 1 << 1,
    CacheDir = 1 << 3,
}

/// <summary>What a message to the kernel that answers no request asks for. The kernel's names without FUSE_.</summary>
internal enum FuseNotifyCode
{
    None = 0,
    NotifyInvalInode = 2,
    NotifyInvalEntry = 3,
    NotifyResend = 7,
    NotifyIncEpoch = 8,
}
