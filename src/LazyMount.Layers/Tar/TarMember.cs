namespace LazyMount.Layers.Tar;

/// <summary>
/// The member a <see cref="TarScanner"/> stands at: one object, overwritten by the scanner's next step. Names are the
/// tar's bytes, not cleaned.
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

    /// <summary>Where the content's first stored byte stands in the tar.</summary>
    public long DataOffset { get; internal set; }

    public int XattrCount => Pax?.XattrCount ?? 0;

    public ReadOnlySpan<byte> XattrName(int i) => Pax!.XattrName(i);

    public ReadOnlySpan<byte> XattrValue(int i) => Pax!.XattrValue(i);
}
