using LazyMount.Fuse.Protocol;

namespace LazyMount.Fuse;

/// <summary>The kinds of requests that a kernel sends to a read-only file system, as they are counted and named.</summary>
public static class RequestKinds
{
    private static readonly FuseOpcode[] s_usual =
    [
        FuseOpcode.Lookup, FuseOpcode.Forget, FuseOpcode.BatchForget, FuseOpcode.GetAttr, FuseOpcode.ReadLink, FuseOpcode.Open, FuseOpcode.Read, FuseOpcode.Release, FuseOpcode.StatFs,
        FuseOpcode.GetXattr, FuseOpcode.ListXattr, FuseOpcode.OpenDir, FuseOpcode.ReadDir, FuseOpcode.ReadDirPlus, FuseOpcode.ReleaseDir, FuseOpcode.LSeek, FuseOpcode.Interrupt,
    ];

    /// <summary>The name of a kind, and the kernel's number for it.</summary>
    public static IReadOnlyList<(string Name, int Operation)> Usual { get; } = [.. s_usual.Select(opcode => (opcode.ToString().ToLowerInvariant(), (int)opcode))];
}
