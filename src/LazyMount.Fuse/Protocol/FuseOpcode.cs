using System.Runtime.CompilerServices;

namespace LazyMount.Fuse.Protocol;

/// <summary>What a request asks for: enum fuse_opcode of the kernel, its names without FUSE_.</summary>
internal enum FuseOpcode : uint
{
    Lookup = 1,
    Forget = 2,
    GetAttr = 3,
    SetAttr = 4,
    ReadLink = 5,
    SymLink = 6,
    MkNod = 8,
    MkDir = 9,
    Unlink = 10,
    RmDir = 11,
    Rename = 12,
    Link = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    StatFs = 17,
    Release = 18,
    FSync = 20,
    SetXattr = 21,
    GetXattr = 22,
    ListXattr = 23,
    RemoveXattr = 24,
    Flush = 25,
    Init = 26,
    OpenDir = 27,
    ReadDir = 28,
    ReleaseDir = 29,
    FSyncDir = 30,
    GetLk = 31,
    SetLk = 32,
    SetLkW = 33,
    Access = 34,
    Create = 35,
    Interrupt = 36,
    BMap = 37,
    Destroy = 38,
    IoCtl = 39,
    Poll = 40,
    NotifyReply = 41,
    BatchForget = 42,
    FAllocate = 43,
    ReadDirPlus = 44,
    Rename2 = 45,
    LSeek = 46,
    CopyFileRange = 47,
    SetupMapping = 48,
    RemoveMapping = 49,
    SyncFs = 50,
    TmpFile = 51,
    StatX = 52,
}

/// <summary>What must stand behind the header for a request to make sense to us.</summary>
/// <param name="ArgumentSize">Bytes of the fixed argument struct.</param>
/// <param name="HasName">A zero-terminated name follows it.</param>
internal readonly record struct RequestShape(int ArgumentSize, bool HasName)
{
    /// <summary>The table. Opcodes whose arguments we never look at need none.</summary>
    public static RequestShape Of(FuseOpcode opcode) => opcode switch
    {
        FuseOpcode.Lookup => new(0, true),
        // A 7.23 kernel sends 16 bytes; flags2 and the rest of the struct are 7.36.
        FuseOpcode.Init => new(4 * sizeof(uint), false),
        FuseOpcode.Open or FuseOpcode.OpenDir => new(Unsafe.SizeOf<fuse_open_in>(), false),
        FuseOpcode.Read or FuseOpcode.ReadDir or FuseOpcode.ReadDirPlus => new(Unsafe.SizeOf<fuse_read_in>(), false),
        FuseOpcode.GetXattr => new(Unsafe.SizeOf<fuse_getxattr_in>(), true),
        FuseOpcode.ListXattr => new(Unsafe.SizeOf<fuse_getxattr_in>(), false),
        FuseOpcode.LSeek => new(Unsafe.SizeOf<fuse_lseek_in>(), false),
        FuseOpcode.Interrupt => new(Unsafe.SizeOf<fuse_interrupt_in>(), false),
        _ => default,
    };

    /// <summary>True for requests that the kernel wants no answer to, not even an error.</summary>
    public static bool IsSilent(FuseOpcode opcode)
        => opcode is FuseOpcode.Forget or FuseOpcode.BatchForget or FuseOpcode.Interrupt or FuseOpcode.NotifyReply;
}
