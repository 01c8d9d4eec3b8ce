namespace LazyMount.Fuse;

/// <summary>What a process needs, besides its devices and the tree, to go on serving a mount of another one.</summary>
/// <param name="Directory">Where it was mounted.</param>
/// <param name="Device">Device number of the file system, or null.</param>
/// <param name="Minor">The minor version that INIT settled.</param>
/// <param name="Flags">The flags that INIT settled.</param>
/// <param name="ErofsSource">The source of an EROFS mount in the mount table; null for a FUSE mount.</param>
public sealed record HeldMount(string Directory, string? Device, uint Minor, ulong Flags, string? ErofsSource)
{
    /// <summary>
    /// The kernel can be asked to send requests again that were read and not answered (Linux 6.9). Where it cannot, a mount does not
    /// survive the death of the process that serves it.
    /// </summary>
    public bool SendsAgain => (Flags & (ulong)Protocol.InitFlags.HasResend) != 0;
}
