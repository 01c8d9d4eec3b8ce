using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// The kernel's EROFS over an image file that we serve by FUSE. The FUSE mount never has a place: EROFS alone holds it, so that the last
/// unmount of the EROFS mount ends it, and a process that dies half-way leaves nothing.
/// </summary>
public static class ErofsFace
{
    internal const string Type = "erofs";

    // Without it the kernel keeps every page twice, and fills what a failed read of the file lacks with zeros.
    private const string DirectIo = "directio";

    /// <summary>Why this process cannot mount EROFS on this machine, as a clause; null when nothing is known to be in the way. Quick.</summary>
    public static string? WhyNot()
    {
        if (Interop.GetEffectiveUserId() != 0)
        {
            return "only root may mount EROFS";
        }
        if (File.Exists(FuseSupport.SELinux))
        {
            return "SELinux is on, and would take the files' labels from the image";
        }
        using FileSystemContext? context = FileSystemContext.TryOpen(Type, out int errno);
        if (context is null)
        {
            return errno switch
            {
                Interop.ENODEV => "the kernel has no EROFS",
                Interop.ENOSYS => TooOld,
                _ => NotPermitted,
            };
        }
        if (context.Set(DirectIo) != 0)
        {
            return TooOld;
        }
        // Permission is asked for before the source, which is missing.
        return context.Create() == Interop.EPERM ? NotPermitted : null;
    }

    private const string TooOld = "the kernel is too old; Linux 6.13 or later is needed";
    private const string NotPermitted = "the system permits it only to root in the initial user namespace, with CAP_SYS_ADMIN";

    /// <summary>Makes the FUSE mount without a place. The kernel's INIT then waits in the device.</summary>
    internal static SafeFileHandle NewBackingMount(FuseDevice device, int maxRead)
    {
        using FileSystemContext context = FileSystemContext.TryOpen("fuse", out int errno) ?? throw Refused(errno, "");
        Check(context, context.Set("source", "lazymount"));
        Check(context, context.Set("fd", device.Descriptor));
        Check(context, context.Set("rootmode", "40000"));
        Check(context, context.Set("user_id", Interop.GetEffectiveUserId()));
        Check(context, context.Set("group_id", Interop.GetEffectiveGroupId()));
        Check(context, context.Set("max_read", maxRead));
        Check(context, context.Set("default_permissions"));
        Check(context, context.Create());
        return Mounted(context, Interop.MOUNT_ATTR_RDONLY | Interop.MOUNT_ATTR_NOSUID | Interop.MOUNT_ATTR_NODEV | Interop.MOUNT_ATTR_NOEXEC);
    }

    /// <summary>Makes the EROFS mount without a place. The session of the FUSE mount must be served meanwhile.</summary>
    internal static SafeFileHandle NewMount(SafeFileHandle backing, string source, FuseMountOptions options)
    {
        int attributes = Interop.MOUNT_ATTR_RDONLY
            | (options.Suid ? 0 : Interop.MOUNT_ATTR_NOSUID) | (options.Dev ? 0 : Interop.MOUNT_ATTR_NODEV) | (options.NoExec ? Interop.MOUNT_ATTR_NOEXEC : 0);
        return InDirectory(backing, () =>
        {
            using FileSystemContext context = FileSystemContext.TryOpen(Type, out int errno) ?? throw Refused(errno, "");
            Check(context, context.Set("source", source)); // relative to the current directory
            Check(context, context.Set("ro"));
            Check(context, context.Set(DirectIo));
            Check(context, context.Create());
            return Mounted(context, attributes);
        });
    }

    /// <summary>Gives a mount its place. Returns 0 or the error number.</summary>
    internal static int Place(SafeFileHandle mount, MountDirectory directory)
        => Interop.MoveMount(mount, directory.Handle) < 0 ? Marshal.GetLastPInvokeError() : 0;

    /// <summary>Does something in a thread that has a current directory of its own.</summary>
    private static T InDirectory<T>(SafeFileHandle directory, Func<T> action)
    {
        var result = new TaskCompletionSource<T>();
        var thread = new Thread(() =>
        {
            try
            {
                if (Interop.Unshare(Interop.CLONE_FS) < 0 || Interop.ChangeDirectory(directory) < 0)
                {
                    throw Refused(Marshal.GetLastPInvokeError(), "");
                }
                result.SetResult(action());
            }
#pragma warning disable CA1031 // It is thrown again where it is waited for.
            catch (Exception e)
#pragma warning restore CA1031
            {
                result.SetException(e);
            }
        })
        { IsBackground = true, Name = "erofs-mount" };
        thread.Start();
        thread.Join();
        return result.Task.GetAwaiter().GetResult();
    }

    private static SafeFileHandle Mounted(FileSystemContext context, int attributes)
    {
        SafeFileHandle mount = context.Mount(attributes);
        int errno = mount.IsInvalid ? Marshal.GetLastPInvokeError() : 0;
        Check(context, errno);
        return mount;
    }

    private static void Check(FileSystemContext context, int errno)
    {
        if (errno != 0)
        {
            throw Refused(errno, context.Complaint());
        }
    }

    private static FuseException Refused(int errno, string complaint) => MountFailure.NoErofs(errno switch
    {
        Interop.ENODEV => "the kernel has no EROFS",
        Interop.ENOTBLK => "the kernel cannot mount EROFS from a file; CONFIG_EROFS_FS_BACKED_BY_FILE is needed",
        Interop.ENOSYS => TooOld,
        Interop.EPERM => NotPermitted,
        _ => $"the kernel refused it: {(complaint.Length > 0 ? complaint : Marshal.GetPInvokeErrorMessage(errno))}",
    });
}
