using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace LazyMount;

/// <summary>The libc call of the metrics server: a Socket of .NET's may shut down what it listens to.</summary>
internal static partial class Interop
{
    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    private static partial int Accept(SafeFileHandle socket, nint address, nint length, int flags);

    /// <summary>Takes a connection that waits. Its descriptor, or -1. Programs do not inherit it.</summary>
    public static int Accept(SafeFileHandle socket)
    {
        const int CloseOnExec = 0x80000;
        return Accept(socket, 0, 0, CloseOnExec);
    }
}
