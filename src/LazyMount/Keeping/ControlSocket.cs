using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using LazyMount.Cli;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Keeping;

/// <summary>One end of the socket between a keeper and a worker (SOCK_SEQPACKET): short messages in ASCII, with open files.</summary>
internal sealed unsafe class ControlSocket(SafeFileHandle handle) : IDisposable
{
    /// <summary>Most descriptors with one message: those of a mount are fewer.</summary>
    private const int MaxFiles = 32;

    private const int MaxLength = 4096;

    /// <summary>The open socket. Owned by this object.</summary>
    public SafeFileHandle Handle => handle;

    /// <summary>Two sockets that are connected. Programs that are started inherit neither.</summary>
    /// <exception cref="CommandException">There are no descriptors left.</exception>
    public static (ControlSocket Ours, ControlSocket Theirs) CreatePair()
    {
        int* pair = stackalloc int[2];
        return Interop.SocketPair(pair) == 0
            ? (new ControlSocket(new SafeFileHandle(pair[0], ownsHandle: true)), new ControlSocket(new SafeFileHandle(pair[1], ownsHandle: true)))
            : throw new CommandException($"cannot start the mount daemon: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    /// <summary>Sends a message. False when nobody can get it any more.</summary>
    public bool TrySend(string message, params ReadOnlySpan<SafeFileHandle> files)
    {
        Span<byte> text = stackalloc byte[MaxLength];
        int length = Encoding.ASCII.GetBytes(message, text);
        Span<byte> control = stackalloc byte[HeaderSize + (MaxFiles * sizeof(int))];
        fixed (byte* textAt = text, controlAt = control)
        {
            var vector = new Interop.IoVector { Base = textAt, Length = (nuint)length };
            var header = new Interop.MessageHeader { Vectors = &vector, VectorCount = 1 };
            if (files.Length > 0)
            {
                header.Control = controlAt;
                header.ControlLength = (nuint)(HeaderSize + (files.Length * sizeof(int) + 7 & ~7));
                ref ControlHeader controlHeader = ref Unsafe.AsRef<ControlHeader>(controlAt);
                controlHeader = new ControlHeader { Length = (nuint)(HeaderSize + (files.Length * sizeof(int))), Level = 1 /* SOL_SOCKET */, Type = 1 /* SCM_RIGHTS */ };
                var numbers = (int*)(controlAt + HeaderSize);
                for (int i = 0; i < files.Length; i++)
                {
                    numbers[i] = (int)files[i].DangerousGetHandle();
                }
            }
            nint sent;
            do
            {
                sent = Interop.SendMessage(handle, &header, Interop.NoSignal);
            }
            while (sent < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR);
            return sent == length;
        }
    }

    /// <summary>Waits for a message. Null when there is no other end any more.</summary>
    /// <param name="files">Those that came with it. Programs that are started inherit them.</param>
    public string? Receive(out SafeFileHandle[] files)
    {
        files = [];
        Span<byte> text = stackalloc byte[MaxLength];
        Span<byte> control = stackalloc byte[HeaderSize + (MaxFiles * sizeof(int))];
        fixed (byte* textAt = text, controlAt = control)
        {
            var vector = new Interop.IoVector { Base = textAt, Length = MaxLength };
            var header = new Interop.MessageHeader { Vectors = &vector, VectorCount = 1, Control = controlAt, ControlLength = (nuint)control.Length };
            nint length;
            do
            {
                length = Interop.ReceiveMessage(handle, &header, 0);
            }
            while (length < 0 && Marshal.GetLastPInvokeError() == Interop.EINTR);
            if (length <= 0)
            {
                return null;
            }
            if (header.ControlLength >= HeaderSize)
            {
                int count = ((int)Unsafe.AsRef<ControlHeader>(controlAt).Length - HeaderSize) / sizeof(int);
                files = new SafeFileHandle[count];
                for (int i = 0; i < count; i++)
                {
                    files[i] = new SafeFileHandle(((int*)(controlAt + HeaderSize))[i], ownsHandle: true);
                }
            }
            return Encoding.ASCII.GetString(text[..(int)length]);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    private const int HeaderSize = 16;

    /// <summary>struct cmsghdr.</summary>
    private struct ControlHeader
    {
        public nuint Length;
        public int Level, Type;
    }
}
