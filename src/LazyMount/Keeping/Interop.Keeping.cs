using System.Runtime.InteropServices;
using LazyMount.Cli;
using Microsoft.Win32.SafeHandles;

namespace LazyMount;

/// <summary>The libc calls of the keeper of a mount.</summary>
internal static unsafe partial class Interop
{
    public const int NoSignal = 0x4000; // MSG_NOSIGNAL

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    private static partial int SocketPair(int domain, int type, int protocol, int* pair);

    /// <summary>A pair of connected sockets that keep messages apart, and that programs do not inherit.</summary>
    public static int SocketPair(int* pair)
    {
        const int Unix = 1, SequencedPackets = 5, CloseOnExec = 0x80000;
        return SocketPair(Unix, SequencedPackets | CloseOnExec, 0, pair);
    }

    /// <summary>struct iovec.</summary>
    internal struct IoVector
    {
        public void* Base;
        public nuint Length;
    }

    /// <summary>struct msghdr.</summary>
    internal struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    public static partial nint SendMessage(SafeFileHandle socket, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    public static partial nint ReceiveMessage(SafeFileHandle socket, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial SafeFileHandle MemoryFile(string name, uint flags);

    /// <summary>A file in memory alone (memfd_create(2)), which is on no disk and has no name.</summary>
    /// <exception cref="IOException">There is none to be had.</exception>
    public static SafeFileHandle MemoryFile(string name, ReadOnlySpan<byte> content)
    {
        const uint CloseOnExec = 1;
        SafeFileHandle file = MemoryFile(name, CloseOnExec);
        if (file.IsInvalid)
        {
            throw new IOException(Marshal.GetLastPInvokeErrorMessage(), Marshal.GetLastPInvokeError());
        }
        RandomAccess.Write(file, content, 0);
        return file;
    }

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int ControlProcess(int option, nuint value, nuint third, nuint fourth, nuint fifth);

    /// <summary>Nobody but root may look into this process, and no dump is made of it.</summary>
    public static void MakeUndumpable()
    {
        const int SetDumpable = 4;
        _ = ControlProcess(SetDumpable, 0, 0, 0, 0);
    }

    [LibraryImport("libc", EntryPoint = "waitpid", SetLastError = true)]
    private static partial int WaitPid(int pid, out int status, int options);

    /// <summary>Waits until a child has ended, and tells how.</summary>
    /// <returns>Its exit code, or the number of the signal that ended it, below 0.</returns>
    public static int Wait(int child)
    {
        while (true)
        {
            if (WaitPid(child, out int status, 0) == child)
            {
                return (status & 0x7F) == 0 ? status >> 8 & 0xFF : -(status & 0x7F);
            }
            if (Marshal.GetLastPInvokeError() != EINTR)
            {
                return ExitCode.Failed;
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial SafeFileHandle EventFile(uint initial, int flags);

    /// <summary>A counter that can be waited for; programs do not inherit it.</summary>
    public static SafeFileHandle EventFile()
    {
        const int CloseOnExec = 0x80000, NonBlocking = 0x800;
        return EventFile(0, CloseOnExec | NonBlocking);
    }

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(SafeFileHandle file, Span<byte> buffer, nint count);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_init")]
    private static partial int SpawnAttributesInit(void* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setflags")]
    private static partial int SpawnAttributesSetFlags(void* attributes, short flags);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigdefault")]
    private static partial int SpawnAttributesSetDefaults(void* attributes, void* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_destroy")]
    private static partial int SpawnAttributesDestroy(void* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawn")]
    private static partial int Spawn(out int pid, byte* file, void* actions, void* attributes, byte** argv, byte** envp);

    [LibraryImport("libc", EntryPoint = "execve", SetLastError = true)]
    private static partial int Execute(byte* file, byte** argv, byte** envp);

    /// <summary>
    /// Starts a program in a session of its own, so that Ctrl-C reaches it only through us. It inherits all descriptors that are not closed
    /// on exec.
    /// </summary>
    /// <returns>Its number; below 0 the error number.</returns>
    public static int Spawn(string program, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        const short SetDefaults = 4, SetSession = 0x80; // POSIX_SPAWN_SETSIGDEF, _SETSID (glibc 2.26)
        const int Room = 512; // posix_spawnattr_t: 336 bytes in glibc and musl
        byte* attributes = stackalloc byte[Room];
        ulong* signals = stackalloc ulong[16]; // sigset_t
        new Span<ulong>(signals, 16).Clear();
        signals[0] = 1ul << (13 - 1); // SIGPIPE, which .NET ignores
        _ = SpawnAttributesInit(attributes);
        _ = SpawnAttributesSetFlags(attributes, SetDefaults | SetSession);
        _ = SpawnAttributesSetDefaults(attributes, signals);
        using var words = new NativeStrings(arguments);
        using var variables = new NativeStrings(environment);
        using var file = new NativeStrings([program]);
        int errno = Spawn(out int pid, *file.Pointer, null, attributes, words.Pointer, variables.Pointer);
        _ = SpawnAttributesDestroy(attributes);
        return errno == 0 ? pid : -errno;
    }

    /// <summary>Becomes another program, in the same process. Returns only when that fails, with the error number.</summary>
    public static int Execute(string program, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        using var words = new NativeStrings(arguments);
        using var variables = new NativeStrings(environment);
        using var file = new NativeStrings([program]);
        _ = Execute(*file.Pointer, words.Pointer, variables.Pointer);
        return Marshal.GetLastPInvokeError();
    }

    /// <summary>Words as C has them: an array of pointers that ends with none.</summary>
    private sealed class NativeStrings : IDisposable
    {
        public NativeStrings(IReadOnlyList<string> words)
        {
            Pointer = (byte**)NativeMemory.AllocZeroed((nuint)words.Count + 1, (nuint)sizeof(byte*));
            for (int i = 0; i < words.Count; i++)
            {
                byte[] bytes = Cli.ImagePathText.Encode(words[i]);
                Pointer[i] = (byte*)NativeMemory.AllocZeroed((nuint)bytes.Length + 1);
                bytes.CopyTo(new Span<byte>(Pointer[i], bytes.Length));
            }
        }

        public byte** Pointer { get; }

        public void Dispose()
        {
            for (byte** word = Pointer; *word is not null; word++)
            {
                NativeMemory.Free(*word);
            }
            NativeMemory.Free(Pointer);
        }
    }
}
