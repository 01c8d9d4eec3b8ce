using System.Collections;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// fusermount3, the setuid program through which users other than root mount and unmount. It opens /dev/fuse, mounts, and
/// sends the open file over the socket whose number stands in _FUSE_COMMFD.
/// </summary>
internal static unsafe class Fusermount
{
    internal const string Program = "fusermount3";
    private const int ChildStderr = 2;
    private const int ChildSocket = 3;
    private const int MaxStderr = 4096;

    /// <summary>
    /// Mounts on an open directory; returns the device. fusermount3 takes nothing but a path, so it is started in the directory and told
    /// to mount on "."; it makes a path of that again, so the caller must look where the mount is. Throws <see cref="FuseException"/>.
    /// </summary>
    public static FuseDevice Mount(MountDirectory directory, string options)
    {
        var (ours, childs) = SocketPair();
        using (ours)
        {
            Running child;
            using (childs)
            {
                child = Start([.. Strings("-o", options, "--", ".")], childs, directory.Handle);
            }
            SafeFileHandle? device = ReceiveDescriptor(ours);
            string stderr = child.Wait(out _);
            return device is null ? throw MountFailure.Fusermount(directory.Path, stderr) : new FuseDevice(device);
        }
    }

    /// <summary>Unmounts. False, with the message of fusermount3, when that failed.</summary>
    public static bool TryUnmount(byte[] directory, bool lazy, out string stderr)
    {
        byte[][] arguments = [.. Strings(lazy ? ["-u", "-z", "--"] : ["-u", "--"]), directory];
        stderr = Start(arguments, null, null).Wait(out int exitCode);
        return exitCode == 0;
    }

    /// <summary>
    /// posix_spawn rather than Process: it hands over exactly the descriptors named, while all of ours stay
    /// close-on-exec, so that no program started meanwhile by another thread inherits one.
    /// </summary>
    private static Running Start(byte[][] arguments, SafeHandle? socket, SafeHandle? directory)
    {
        var (stderr, childsStderr) = SocketPair();
        byte* actions = stackalloc byte[Interop.SpawnActionsSize];
        using var argv = new NativeStrings([.. Strings(Program), .. arguments]);
        using var envp = new NativeStrings(Strings([.. Environment(socket is not null)]));
        Check(Interop.SpawnActionsInit(actions));
        try
        {
            using (childsStderr)
            {
                // The standard error's socket may have the number that the other one gets; it goes first.
                Check(Interop.SpawnActionsDuplicate(actions, childsStderr, ChildStderr));
                if (socket is not null)
                {
                    Check(Interop.SpawnActionsDuplicate(actions, socket, ChildSocket));
                }
                if (directory is not null)
                {
                    Check(Interop.SpawnActionsChangeDirectory(actions, directory));
                }
                int errno = Interop.Spawn(out int pid, Program, actions, null, argv.Pointers, envp.Pointers);
                if (errno != 0)
                {
                    stderr.Dispose();
                    throw errno == Interop.ENOENT ? MountFailure.NoFusermount() : Failure("posix_spawn", errno);
                }
                return new Running(pid, stderr);
            }
        }
        finally
        {
            _ = Interop.SpawnActionsDestroy(actions);
        }
    }

    // Zero-terminated, as C has them.
    private static IEnumerable<byte[]> Strings(params string[] texts) => texts.Select(text => Encoding.UTF8.GetBytes(text + '\0'));

    private static IEnumerable<string> Environment(bool withSocket)
    {
        foreach (DictionaryEntry variable in System.Environment.GetEnvironmentVariables())
        {
            yield return $"{variable.Key}={variable.Value}";
        }
        if (withSocket)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"_FUSE_COMMFD={ChildSocket}");
        }
    }

    private static (SafeFileHandle, SafeFileHandle) SocketPair()
    {
        int* fds = stackalloc int[2];
        if (Interop.SocketPair(Interop.AF_UNIX, Interop.SOCK_STREAM | Interop.SOCK_CLOEXEC, 0, fds) < 0)
        {
            throw Failure("socketpair", Marshal.GetLastPInvokeError());
        }
        return (new SafeFileHandle(fds[0], ownsHandle: true), new SafeFileHandle(fds[1], ownsHandle: true));
    }

    /// <summary>Waits for the one message; null when the other end closed without sending a descriptor.</summary>
    private static SafeFileHandle? ReceiveDescriptor(SafeHandle socket)
    {
        byte payload;
        Interop.IoVec vector = new() { Base = &payload, Length = 1 };
        Interop.DescriptorMessage control = default;
        Interop.MessageHeader message = new()
        {
            Vectors = &vector,
            VectorCount = 1,
            Control = &control,
            ControlLength = (nuint)sizeof(Interop.DescriptorMessage),
        };
        nint received;
        do
        {
            received = Interop.ReceiveMessage(socket, &message, Interop.MSG_CMSG_CLOEXEC);
        }
        while (received < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR);
        return received > 0 && control is { Level: Interop.SOL_SOCKET, Type: Interop.SCM_RIGHTS }
            ? new SafeFileHandle(control.Descriptor, ownsHandle: true)
            : null;
    }

    private static void Check(int errno)
    {
        if (errno != 0)
        {
            throw Failure("posix_spawn_file_actions", errno);
        }
    }

    private static FuseException Failure(string call, int errno)
        => new($"cannot run {Program}: {call} failed ({Marshal.GetPInvokeErrorMessage(errno)}); free some memory or file descriptors");

    /// <summary>A started program and our end of its standard error.</summary>
    private readonly struct Running(int pid, SafeFileHandle stderr)
    {
        /// <summary>Waits for its end; returns what it wrote to standard error, cut at 4 KiB.</summary>
        public string Wait(out int exitCode)
        {
            byte* buffer = stackalloc byte[MaxStderr];
            int length = 0;
            using (stderr)
            {
                while (length < MaxStderr)
                {
                    nint read = Interop.Read(stderr, buffer + length, (nuint)(MaxStderr - length));
                    if (read <= 0)
                    {
                        if (read < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR)
                        {
                            continue;
                        }
                        break;
                    }
                    length += (int)read;
                }
            }
            int status;
            int waited;
            do
            {
                waited = Interop.WaitPid(pid, out status, 0);
            }
            while (waited < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR);
            exitCode = waited == pid ? (status & 0x7f) == 0 ? (status >> 8) & 0xff : -1 : -1;
            return Encoding.UTF8.GetString(buffer, length);
        }
    }

    /// <summary>A null-terminated array of C strings, for argv and envp.</summary>
    private readonly struct NativeStrings : IDisposable
    {
        private readonly int _count;

        /// <param name="strings">Zero-terminated.</param>
        public NativeStrings(IEnumerable<byte[]> strings)
        {
            byte[][] all = [.. strings];
            _count = all.Length;
            Pointers = (byte**)NativeMemory.AllocZeroed((nuint)_count + 1, (nuint)sizeof(byte*));
            for (int i = 0; i < _count; i++)
            {
                Pointers[i] = (byte*)NativeMemory.Alloc((nuint)all[i].Length);
                all[i].CopyTo(new Span<byte>(Pointers[i], all[i].Length));
            }
        }

        public byte** Pointers { get; }

        public void Dispose()
        {
            for (int i = 0; i < _count; i++)
            {
                NativeMemory.Free(Pointers[i]);
            }
            NativeMemory.Free(Pointers);
        }
    }
}
