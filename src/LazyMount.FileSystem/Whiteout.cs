namespace LazyMount.FileSystem;

/// <summary>Names with which a layer hides what lies below it (image-spec v1.1, layer.md "Whiteouts").</summary>
internal static class Whiteout
{
    private static ReadOnlySpan<byte> Prefix => ".wh."u8;

    private static ReadOnlySpan<byte> MetaPrefix => ".wh..wh."u8;

    private static ReadOnlySpan<byte> OpaqueName => ".wh..wh..opq"u8;

    /// <summary>
    /// A whiteout, an opaque marker, or one of AUFS's own files. An entry of such a name makes no file, and neither the name nor
    /// what stands below it is ever shown.
    /// </summary>
    public static bool IsReserved(ReadOnlySpan<byte> name) => name.StartsWith(Prefix);

    /// <summary>Hides all lower children of the directory that it stands in.</summary>
    public static bool IsOpaque(ReadOnlySpan<byte> name) => name.SequenceEqual(OpaqueName);

    /// <summary>A whiteout of no name, "." or "..": image-spec#1314, and containerd and umoci, refuse it.</summary>
    public static bool IsNameless(ReadOnlySpan<byte> name)
        => name.StartsWith(Prefix) && name[Prefix.Length..] is [] or [(byte)'.'] or [(byte)'.', (byte)'.'];

    /// <summary>Hides the lower <paramref name="target"/> beside it.</summary>
    public static bool TryGetTarget(ReadOnlySpan<byte> name, out ReadOnlySpan<byte> target)
    {
        bool hides = name.StartsWith(Prefix) && !name.StartsWith(MetaPrefix) && !IsNameless(name);
        target = hides ? name[Prefix.Length..] : default;
        return hides;
    }
}
