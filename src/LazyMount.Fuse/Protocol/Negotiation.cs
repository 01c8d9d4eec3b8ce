using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.FileSystem;

namespace LazyMount.Fuse.Protocol;

/// <summary>What INIT settled. Together with the device this is all that a session needs, whoever answered INIT.</summary>
internal readonly record struct Negotiated(uint Minor, InitFlags Flags)
{
    public bool Has(InitFlags flag) => (Flags & flag) == flag;
}

/// <summary>How an INIT was taken.</summary>
internal enum NegotiationResult
{
    /// <summary>Settled; send the reply and serve.</summary>
    Settled,

    /// <summary>The kernel speaks a later major version; send the reply and it asks again with ours.</summary>
    AskAgain,

    /// <summary>The kernel is too old; send the reply, which refuses.</summary>
    TooOld,
}

/// <summary>The answer to INIT.</summary>
internal static class Negotiation
{
    public const uint Major = 7;

    /// <summary>The version we implement.</summary>
    public const uint Minor = 45;

    /// <summary>init_out and entries have had today's layout since then, and READDIRPLUS is there (Linux 3.15).</summary>
    public const uint OldestMinor = 23;

    /// <summary>The largest READ: 256 pages, the most that kernels take without a sysctl.</summary>
    public const int MaxRead = 1 << 20;

    /// <summary>
    /// The kernel refuses reads with a buffer smaller than max_write plus headers, and fills longer ones with batched
    /// FORGETs only. We take no writes, so the smallest max_write allows a small buffer; 64 KiB keep batches long.
    /// </summary>
    public const int RequestBufferSize = 64 << 10;

    /// <summary>Directories are listed in pieces of at most this; it also holds the longest xattr (64 KiB).</summary>
    public const int ReplyBufferSize = 128 << 10;

    /// <summary>
    /// READs for the page cache that the kernel sends before it has answers; more wait in the kernel, in order, so that a READ that
    /// could be answered waits for the network with the others. The kernel lowers it to /sys/module/fuse/parameters/max_user_bgreq for
    /// users other than root.
    /// </summary>
    public const ushort MaxBackground = 512;

    private const uint MaxWrite = 4096;
    private const int PageSize = 4096;
    private const ushort CongestionThreshold = 384;

    private const InitFlags Wanted =
        InitFlags.AsyncRead | InitFlags.ExportSupport | InitFlags.DoReadDirPlus | InitFlags.NoOpenSupport
        | InitFlags.ParallelDirOps | InitFlags.MaxPages | InitFlags.CacheSymlinks | InitFlags.NoOpenDirSupport
        | InitFlags.ExplicitInvalData | InitFlags.InitExt | InitFlags.HasResend | InitFlags.AllowIdMap;

    /// <summary>Builds the reply to an INIT request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="reply">Room for the reply.</param>
    /// <param name="length">Bytes of the reply.</param>
    /// <param name="negotiated">What was settled.</param>
    /// <param name="more">What is wanted besides what every mount wants.</param>
    /// <param name="less">What is not wanted of that.</param>
    public static NegotiationResult Answer(
        in FuseRequest request, Span<byte> reply, out int length, out Negotiated negotiated, InitFlags more = InitFlags.None, InitFlags less = InitFlags.None)
    {
        fuse_init_in theirs = request.InitArgument;
        negotiated = default;
        if (theirs.major < Major || (theirs.major == Major && theirs.minor < OldestMinor))
        {
            length = FuseReply.Error(reply, request.Unique, Errno.EOPNOTSUPP);
            return NegotiationResult.TooOld;
        }

        ref fuse_init_out ours = ref MemoryMarshal.AsRef<fuse_init_out>(reply[FuseReply.HeaderSize..]);
        ours = default;
        ours.major = Major;
        ours.minor = Minor;
        length = FuseReply.Header(reply, request.Unique, Unsafe.SizeOf<fuse_init_out>());
        if (theirs.major > Major)
        {
            return NegotiationResult.AskAgain;
        }

        var offered = (InitFlags)theirs.flags;
        if ((offered & InitFlags.InitExt) != 0)
        {
            offered |= (InitFlags)((ulong)theirs.flags2 << 32);
        }
        InitFlags flags = offered & (Wanted | more) & ~less;
        negotiated = new Negotiated(Math.Min(theirs.minor, Minor), flags);

        ours.minor = negotiated.Minor;
        ours.max_readahead = MaxRead;
        ours.flags = (uint)flags;
        ours.flags2 = (uint)((ulong)flags >> 32);
        ours.max_background = MaxBackground;
        ours.congestion_threshold = CongestionThreshold;
        ours.max_write = MaxWrite;
        ours.time_gran = 1;
        ours.max_pages = negotiated.Has(InitFlags.MaxPages) ? (ushort)(MaxRead / PageSize) : (ushort)0;
        return NegotiationResult.Settled;
    }
}
