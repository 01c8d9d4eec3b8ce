using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem.Erofs;

/// <summary>
/// The extended attributes of a tree as EROFS keeps them: a set that several inodes have stands once in the area of shared attributes, and the
/// inodes name its attributes; a set of one inode stands behind that inode.
/// </summary>
internal sealed class XattrArea
{
    private const uint FilterSeed = 0x25BBE08F; // EROFS_XATTR_FILTER_SEED

    private const byte AccessIndex = 2, DefaultIndex = 3;

    // Index and the beginning of the names that it stands for; ACLs are whole names.
    private static readonly (byte Index, byte[] Prefix)[] s_prefixes =
        [(AccessIndex, "system.posix_acl_access"u8.ToArray()), (DefaultIndex, "system.posix_acl_default"u8.ToArray()), (1, "user."u8.ToArray()), (4, "trusted."u8.ToArray()), (6, "security."u8.ToArray())];

    private readonly IReadOnlyList<Xattr[]> _sets;
    private readonly uint[]?[] _shared; // by set: offsets of its shared attributes in the area, null for one that stands inline
    private readonly string?[] _reasons; // by set: see WhyNot
    private readonly long[] _sizes; // by set: see SizeBehindInode
    private readonly bool[] _accessLists; // by set: see HasAccessList

    /// <param name="tree">The tree.</param>
    public XattrArea(FlatTree tree)
    {
        (_sets, _shared) = (tree.XattrSets, new uint[]?[tree.XattrSets.Count]);
        // Asked for several times for every inode.
        (_reasons, _sizes, _accessLists) = (new string?[_sets.Count], new long[_sets.Count], new bool[_sets.Count]);
        int[] uses = tree.CountXattrSets();
        long size = 0;
        for (int set = 0; set < _sets.Count; set++)
        {
            _reasons[set] = WhyNotOneOf(set);
            _accessLists[set] = Array.Exists(_sets[set], static xattr => IndexOf(xattr.Name.Span).Index is AccessIndex or DefaultIndex);
            if (uses[set] > 1 && _reasons[set] is null)
            {
                var offsets = new uint[Math.Min(_sets[set].Length, ErofsFormat.MaxSharedXattrs)];
                for (int i = 0; i < offsets.Length; i++)
                {
                    offsets[i] = checked((uint)(size / 4));
                    size += SizeOf(_sets[set][i]);
                }
                _shared[set] = offsets;
            }
            int shared = _shared[set]?.Length ?? 0;
            _sizes[set] = ErofsFormat.XattrHeaderSize + (shared * 4L);
            foreach (Xattr xattr in _sets[set].AsSpan(shared))
                _sizes[set] += SizeOf(xattr);
            if (_sizes[set] > ErofsFormat.MaxXattrBytes)
                _reasons[set] ??= $"more than {ErofsFormat.MaxXattrBytes} bytes of attributes";
        }
        Size = size;
    }

    /// <summary>Bytes of the area of shared attributes.</summary>
    public long Size { get; }

    /// <summary>Why EROFS cannot keep a set, as a clause; null when it can.</summary>
    public string? WhyNot(int set) => _reasons[set];

    /// <summary>True when a set has a POSIX access control list.</summary>
    public bool HasAccessList(int set) => _accessLists[set];

    private string? WhyNotOneOf(int set)
    {
        foreach (Xattr xattr in _sets[set])
        {
            if (IndexOf(xattr.Name.Span).Index == 0)
                return $"an attribute of a namespace that EROFS does not know ({Encoding.UTF8.GetString(xattr.Name.Span)})";
            if (xattr.Value.Length > ErofsFormat.MaxXattrValue)
                return $"an attribute of more than {ErofsFormat.MaxXattrValue} bytes";
        }
        return null;
    }

    /// <summary>Bytes behind an inode that has the set.</summary>
    public long SizeBehindInode(int set) => _sizes[set];

    /// <summary>Writes the attributes that follow an inode.</summary>
    public void WriteBehindInode(int set, Span<byte> to)
    {
        to.Clear();
        uint[] shared = _shared[set] ?? [];
        var header = new ErofsFormat.Fields(to);
        header.U32(FilterOf(set));
        header.U8((uint)shared.Length);
        header.Skip(7);
        foreach (uint id in shared)
            header.U32(id);
        int at = ErofsFormat.XattrHeaderSize + (shared.Length * 4);
        foreach (Xattr xattr in _sets[set].AsSpan(shared.Length))
            at += Write(xattr, to[at..]);
    }

    /// <summary>Writes the area of shared attributes, piece by piece.</summary>
    public void WriteShared(Action<ReadOnlySpan<byte>> write)
    {
        for (int set = 0; set < _sets.Count; set++)
        {
            foreach (Xattr xattr in _sets[set].AsSpan(0, _shared[set]?.Length ?? 0))
            {
                var entry = new byte[SizeOf(xattr)];
                Write(xattr, entry);
                write(entry);
            }
        }
    }

    private static int Write(in Xattr xattr, Span<byte> to)
    {
        (byte index, int prefix) = IndexOf(xattr.Name.Span);
        ReadOnlySpan<byte> name = xattr.Name.Span[prefix..];
        var entry = new ErofsFormat.Fields(to);
        entry.U8((uint)name.Length);
        entry.U8(index);
        entry.U16((uint)xattr.Value.Length);
        entry.Bytes(name);
        entry.Bytes(xattr.Value.Span);
        return SizeOf(xattr);
    }

    private static int SizeOf(in Xattr xattr)
        => (ErofsFormat.XattrEntrySize + xattr.Name.Length - IndexOf(xattr.Name.Span).Prefix + xattr.Value.Length + 3) & ~3;

    /// <summary>Bytes of an attribute without what fills it to a word, from its first <see cref="ErofsFormat.XattrEntrySize"/> bytes.</summary>
    public static int LengthOf(ReadOnlySpan<byte> entry) => ErofsFormat.XattrEntrySize + entry[0] + BinaryPrimitives.ReadUInt16LittleEndian(entry[2..]);

    /// <summary>The beginning of the names that an index stands for; false for one that is not known.</summary>
    public static bool TryGetPrefix(byte index, out ReadOnlySpan<byte> prefix)
    {
        foreach ((byte known, byte[] names) in s_prefixes)
        {
            if (known == index)
            {
                prefix = names;
                return true;
            }
        }
        prefix = default;
        return false;
    }

    private static (byte Index, int Prefix) IndexOf(ReadOnlySpan<byte> name)
    {
        foreach ((byte index, byte[] prefix) in s_prefixes)
        {
            if (index is AccessIndex or DefaultIndex ? name.SequenceEqual(prefix) : name.StartsWith(prefix) && name.Length > prefix.Length)
                return (index, prefix.Length);
        }
        return (0, 0);
    }

    // A bit of 32 for each name: set when no attribute of the inode has it. The kernel then need not look.
    private uint FilterOf(int set)
    {
        uint filter = uint.MaxValue;
        foreach (Xattr xattr in _sets[set])
        {
            (byte index, int prefix) = IndexOf(xattr.Name.Span);
            filter &= ~(1u << (int)(XxHash32.HashToUInt32(xattr.Name.Span[prefix..], (int)(FilterSeed + index)) & 31));
        }
        return filter;
    }
}
