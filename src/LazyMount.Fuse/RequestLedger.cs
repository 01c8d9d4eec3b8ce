using Microsoft.Win32.SafeHandles;

namespace LazyMount.Fuse;

/// <summary>
/// What has to be known of requests when the process that served them has died: whether it answered any, and which requests the kernel has sent
/// again, how often. It stands in memory behind a descriptor (memfd_create(2)), which the keeper of a mount holds. One process writes to it at a time.
/// <code>
/// 8       not 0 when the process that serves has answered a request
/// 16 * N  unique of a request that was sent again (0: none), and how many deaths in a row it was out at
/// </code>
/// A request that was out at <see cref="MostDeaths"/> deaths is likely what the processes die of: it is answered EIO, and the mount goes on.
/// </summary>
public sealed unsafe class RequestLedger : IDisposable
{
    /// <summary>Deaths at which a request may be out.</summary>
    public const int MostDeaths = 3;

    private const int SlotsAt = 16, SlotSize = 16, Slots = 1023;

    /// <summary>Bytes of memory that a ledger takes, zeros at first.</summary>
    public const int Size = SlotsAt + (Slots * SlotSize);

    private const ulong SentAgain = 1ul << 63; // FUSE_UNIQUE_RESEND

    private readonly Lock _gate = new();
    private readonly bool _afterDeath;
    private byte* _memory;
    private volatile bool _hasAnswered;

    private RequestLedger(byte* memory, bool afterDeath)
    {
        _memory = memory;
        _afterDeath = afterDeath;
    }

    /// <summary>The ledger in some memory. Null when it cannot be mapped.</summary>
    /// <param name="memory">A file in memory of <see cref="Size"/> bytes, of this process or an earlier one.</param>
    /// <param name="afterDeath">The process before this one died, so that whatever is sent again was out then.</param>
    public static RequestLedger? TryOpen(SafeFileHandle memory, bool afterDeath)
    {
        nint address = Interop.MMap(0, Size, Interop.PROT_READ | Interop.PROT_WRITE, Interop.MAP_SHARED, memory, 0);
        return address == -1 ? null : new RequestLedger((byte*)address, afterDeath);
    }

    /// <summary>Tells, for the keeper, whether a request was answered since the last time it asked.</summary>
    public static bool TakeAnswered(SafeFileHandle memory)
    {
        Span<byte> answered = stackalloc byte[1];
        bool was = RandomAccess.Read(memory, answered, 0) == 1 && answered[0] != 0;
        answered[0] = 0;
        RandomAccess.Write(memory, answered, 0);
        return was;
    }

    /// <summary>True for a request that the kernel has sent again.</summary>
    internal static bool IsSentAgain(ulong unique) => (unique & SentAgain) != 0;

    /// <summary>Notes a request that was sent again. False when it was out at so many deaths that it must not be tried once more.</summary>
    internal bool Admit(ulong unique)
    {
        lock (_gate)
        {
            ulong* slot = Find(unique);
            if (slot is null && (slot = Find(0)) is null)
            {
                return true; // more than there is room for: they are tried again
            }
            if (slot[0] != unique)
            {
                slot[0] = unique;
                slot[1] = 0;
            }
            slot[1] += _afterDeath ? 1u : 0;
            return slot[1] < MostDeaths;
        }
    }

    /// <summary>Notes that a request was answered.</summary>
    internal void Answered(ulong unique)
    {
        if (!_hasAnswered)
        {
            _hasAnswered = true;
            _memory[0] = 1;
        }
        if (IsSentAgain(unique))
        {
            lock (_gate)
            {
                ulong* slot = Find(unique);
                if (slot is not null)
                {
                    slot[0] = 0;
                }
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_memory is not null)
        {
            _ = Interop.MUnmap((nint)_memory, Size);
            _memory = null;
        }
    }

    private ulong* Find(ulong unique)
    {
        for (var slot = (ulong*)(_memory + SlotsAt); slot < _memory + Size; slot += 2)
        {
            if (slot[0] == unique)
            {
                return slot;
            }
        }
        return null;
    }
}
