using LazyMount.Indexes.Model;
namespace LazyMount.Indexes.Tar;

/// <summary>
/// The member a <see cref="TarScanner"/> stands at, or one that a table of contents tells of: one object, overwritten by the
/// next. Names are the tar's bytes, not cleaned.
/// </summary>
internal sealed class TarMember
{
    internal readonly ByteBuffer PathBuffer = new();
    internal readonly ByteBuffer LinkBuffer = new();
    internal PaxAttributes? Pax;

    public ReadOnlySpan<byte> Path => PathBuffer.Bytes;

    /// <summary>Target of a hard or symbolic link.</summary>
    public ReadOnlySpan<byte> Link => LinkBuffer.Bytes;

    public EntryType Type { get; internal set; }

    /// <summary>Why the member makes no entry, or null when it makes one.</summary>
    public string? SkipReason { get; internal set; }

    public ushort Mode { get; internal set; }

    public uint Uid { get; internal set; }

    public uint Gid { get; internal set; }

    /// <summary>Bytes of content with its holes, 0 for all but files.</summary>
    public long Size { get; internal set; }

    /// <summary>Which of them are stored; null when all are.</summary>
    public SparseMap? SparseMap { get; internal set; }

    public long MtimeSeconds { get; internal set; }

    public uint MtimeNanoseconds { get; internal set; }

    public uint DeviceMajor { get; internal set; }

    public uint DeviceMinor { get; internal set; }

    /// <summary>Offset of the content's first stored byte in the tar.</summary>
    public long DataOffset { get; internal set; }

    public int XattrCount => Pax?.XattrCount ?? 0;

    public ReadOnlySpan<byte> XattrName(int i) => Pax!.XattrName(i);

    public ReadOnlySpan<byte> XattrValue(int i) => Pax!.XattrValue(i);

    internal void Clear()
    {
        PathBuffer.Clear();
        LinkBuffer.Clear();
        Pax?.ClearXattrs();
        (Type, SkipReason, SparseMap) = (EntryType.File, null, null);
        (Mode, Uid, Gid, DeviceMajor, DeviceMinor) = (0, 0, 0, 0, 0);
        (Size, MtimeSeconds, MtimeNanoseconds, DataOffset) = (0, 0, 0, 0);
    }

    /// <summary>Adds an attribute as if a PAX header had said it.</summary>
    internal void AddXattr(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => (Pax ??= new PaxAttributes()).AddXattr(name, value);

    /// <summary>07777 of it: the rest, where there is any, says the type once more.</summary>
    internal static ushort ModeOf(long value) => (ushort)(value & 0xFFF);

    // Linux has 12 bits and 20; the engines let mknod(2) cut off the rest.
    internal static uint DeviceMajorOf(long value) => (uint)value & 0xFFF;

    internal static uint DeviceMinorOf(long value) => (uint)value & 0xFFFFF;

    /// <summary>
    /// 32 bits; negative numbers are what writers make of ids such as (uid_t)-2. The last one, (uid_t)-1, tells chown(2)
    /// to leave the owner as it is: whoever unpacks a layer as root gets root's file. Null for what does not fit.
    /// </summary>
    internal static uint? IdOf(long value) => value switch
    {
        uint.MaxValue or -1 => 0,
        >= int.MinValue and < uint.MaxValue => unchecked((uint)value),
        _ => null,
    };
}
