using LazyMount.Blobs.Images;
using LazyMount.FileSystem;
using LazyMount.Fuse.Protocol;

namespace LazyMount.Fuse;

/// <summary>
/// Takes back what the kernel was told it may keep for ever. The kernel goes on answering from its caches even after a connection was
/// aborted, so this is the only way to make it stop.
/// </summary>
internal static class KernelCache
{
    /// <summary>
    /// Has the kernel drop every page, attribute and name of a tree; about two system calls for each name. What is asked for afterwards
    /// is asked of the session, which must refuse already. No READ may wait: the kernel waits for it.
    /// </summary>
    public static void Forget(FuseDevice device, ImageTree tree)
    {
        // Names that are not there are known to the kernel only. Kernels before Linux 6.16 refuse this, and go on to say of a name that
        // somebody has looked for in the root that it does not exist; those in other directories go with the directories.
        Span<byte> message = stackalloc byte[FuseNotification.MaxLength];
        device.Write(message[..FuseNotification.NewEpoch(message)]);
        ForgetEach(device, tree);
    }

    /// <summary>Has the kernel drop what the tree names, one by one.</summary>
    internal static void ForgetEach(FuseDevice device, ImageTree tree)
    {
        Span<byte> message = stackalloc byte[FuseNotification.MaxLength];
        // From the leaves up, so that the kernel has less to walk when a directory goes.
        for (int number = tree.NodeCount - 1; number >= 0; number--)
        {
            try
            {
                ForgetNode(device, tree, tree.NodeAt(number), message);
            }
            catch (ImageException)
            {
                // The tree file is damaged there: the others are forgotten all the same.
            }
        }
    }

    private static void ForgetNode(FuseDevice device, ImageTree tree, ulong node, Span<byte> message)
    {
        for (DirectoryCursor names = tree.ReadDirectory(node); names.MoveNext();)
        {
            if (!names.IsDots)
            {
                device.Write(message[..FuseNotification.InvalidateName(message, node, names.Name)]);
            }
        }
        device.Write(message[..FuseNotification.InvalidateNode(message, node)]);
    }
}
