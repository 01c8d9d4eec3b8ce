namespace LazyMount.Indexes.Build;

/// <summary>
/// Layers that are no tar but something known. Media types are hints only: they are asked for a name when a layer could not
/// be read as a tar. Bytes are asked when a layer has no entries.
/// </summary>
internal static class ForeignContent
{
    /// <summary>Bytes at the beginning of a layer's content that show its kind.</summary>
    public const int HeadSize = BtrfsMagic + 8;

    private const int ErofsMagic = 1024, ExtMagic = 1024 + 56, Iso9660Magic = 32769, BtrfsMagic = 65600, SifMagic = 32;

    private const string Converted = "use the image that it was converted from, whose layers are tars";
    private const string Document = "run lazymount manifest IMAGE to see what the artifact is";

    // By a part of the media type. The first that is found counts.
    private static readonly (string Part, string What, string NextStep)[] s_types =
    [
        ("nydus", "a nydus (RAFS) blob", Converted),
        ("erofs", "an EROFS file system image", Converted),
        ("squashfs", "a squashfs file system image", Converted),
        ("overlaybd", "an overlaybd block device image", Converted),
        ("dmverity", "a dm-verity block device image", Converted),
        ("dm-verity", "a dm-verity block device image", Converted),
        (".sif", "a Singularity (SIF) image", Converted),
        ("qcow2", "a qcow2 disk image", Document),
        (".tart.", "a disk image of a virtual machine", Document),
        ("wasm", "a WebAssembly module", Document),
        ("in-toto", "an in-toto attestation", Document),
        ("spdx", "an SPDX bill of materials", Document),
        ("cyclonedx", "a CycloneDX bill of materials", Document),
        ("cosign", "a cosign signature", Document),
        ("sigstore", "a sigstore signature", Document),
        ("jose", "a signature", Document),
        ("/cose", "a signature", Document),
        ("helm.chart.provenance", "the signature of a helm chart", Document),
        ("ollama", "a part of a language model", Document),
        ("gguf", "a language model (GGUF)", Document),
    ];

    /// <summary>The kind of content that a media type names instead of a tar, and the user's next step; null for an unknown type.</summary>
    public static (string What, string NextStep)? OfType(string mediaType)
    {
        foreach ((string part, string what, string nextStep) in s_types)
        {
            if (mediaType.Contains(part, StringComparison.OrdinalIgnoreCase))
            {
                return (what, nextStep);
            }
        }
        return null;
    }

    /// <summary>The kind of content that begins with these bytes, the first <see cref="HeadSize"/> of a layer or all of them; null when it is not known.</summary>
    public static string? OfBytes(ReadOnlySpan<byte> head)
        => Has(head, ErofsMagic, [0xE2, 0xE1, 0xF5, 0xE0]) ? "an EROFS file system image"
            : Has(head, 0, "hsqs"u8) ? "a squashfs file system image"
            : Has(head, ExtMagic, [0x53, 0xEF]) && !head[..ErofsMagic].ContainsAnyExcept((byte)0) ? "an ext2, ext3 or ext4 file system image"
            : Has(head, 0, "XFSB"u8) ? "an XFS file system image"
            : Has(head, BtrfsMagic, "_BHRfS_M"u8) ? "a btrfs file system image"
            : Has(head, Iso9660Magic, "CD001"u8) ? "an ISO 9660 image"
            : Has(head, 0, [(byte)'Q', (byte)'F', (byte)'I', 0xFB]) ? "a qcow2 disk image"
            : Has(head, 0, "LUKS"u8) ? "an encrypted (LUKS) volume"
            : Has(head, SifMagic, "SIF_MAGIC"u8) ? "a Singularity (SIF) image"
            : Has(head, 0, [0, (byte)'a', (byte)'s', (byte)'m']) ? "a WebAssembly module"
            : Has(head, 0, "GGUF"u8) ? "a language model (GGUF)"
            : Has(head, 0, [0x7F, (byte)'E', (byte)'L', (byte)'F']) ? "an ELF program"
            : Has(head, 0, [(byte)'P', (byte)'K', 3, 4]) ? "a zip file"
            : null;

    private static bool Has(ReadOnlySpan<byte> head, int at, ReadOnlySpan<byte> magic) => head.Length >= at + magic.Length && head.Slice(at, magic.Length).SequenceEqual(magic);
}
