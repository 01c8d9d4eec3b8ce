using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>A file system that is being set up by fsopen(2), before it has a place. Nothing is left of it when its descriptors are closed.</summary>
internal sealed unsafe class FileSystemContext : IDisposable
{
    /// <summary>Bytes of a value, with the zero behind it.</summary>
    public const int MaxValue = 256;

    private readonly SafeFileHandle _handle;

    private FileSystemContext(SafeFileHandle handle) => _handle = handle;

    /// <summary>Begins; null with the error number when the kernel does not know the type, or does not let us.</summary>
    public static FileSystemContext? TryOpen(string type, out int errno)
    {
        SafeFileHandle handle = Interop.FsOpen(type, Interop.FSOPEN_CLOEXEC);
        errno = handle.IsInvalid ? Marshal.GetLastPInvokeError() : 0;
        return handle.IsInvalid ? null : new FileSystemContext(handle);
    }

    /// <summary>Sets an option that has no value. Returns 0 or the error number.</summary>
    public int Set(string option) => Configure(Interop.FSCONFIG_SET_FLAG, Bytes(option), null);

    /// <summary>Sets an option. Returns 0 or the error number.</summary>
    public int Set(string option, string value) => Configure(Interop.FSCONFIG_SET_STRING, Bytes(option), Bytes(value));

    /// <summary>Sets an option to a number. Returns 0 or the error number.</summary>
    public int Set(string option, long value) => Set(option, value.ToString(CultureInfo.InvariantCulture));

    /// <summary>Makes the file system. Returns 0 or the error number.</summary>
    public int Create() => Configure(Interop.FSCONFIG_CMD_CREATE, null, null);

    /// <summary>Makes a mount without a place. The handle is invalid with the last error set when that fails.</summary>
    /// <param name="attributes">MOUNT_ATTR_*.</param>
    public SafeFileHandle Mount(int attributes) => Interop.FsMount(_handle, Interop.FSMOUNT_CLOEXEC, attributes);

    /// <summary>The kernel's message about the last failure, or an empty string.</summary>
    public string Complaint()
    {
        byte* message = stackalloc byte[512];
        string complaint = "";
        // "e TEXT": an error. Warnings and notes begin with other letters.
        while (Interop.Read(_handle, message, 512) is > 0 and nint length)
        {
            string text = Encoding.UTF8.GetString(message, (int)length).TrimEnd('\n');
            complaint = text.StartsWith("e ", StringComparison.Ordinal) ? text[2..] : complaint;
        }
        return complaint;
    }

    public void Dispose() => _handle.Dispose();

    private int Configure(uint command, byte[]? key, byte[]? value)
        => Interop.FsConfig(_handle, command, key, value) < 0 ? Marshal.GetLastPInvokeError() : 0;

    private static byte[] Bytes(string text) => Blobs.Files.PathText.ToNative(text);
}
