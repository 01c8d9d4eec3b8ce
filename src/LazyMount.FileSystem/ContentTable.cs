using System.Buffers;
using LazyMount.Indexes.Model;

namespace LazyMount.FileSystem;

/// <summary>Turns entries into nodes, gathering link targets and the sparse maps and sets of extended attributes that are in use.</summary>
internal sealed class ContentTable(IReadOnlyList<LayerIndex> layers)
{
    private readonly ArrayBufferWriter<byte> _linkTargets = new();
    private readonly List<SparseMap> _sparseMaps = [];
    private readonly List<XattrSet> _xattrSets = [];
    private readonly Dictionary<(short Layer, int Set), int> _known = [];

    public byte[] LinkTargets => _linkTargets.WrittenSpan.ToArray();

    public SparseMap[] SparseMaps => [.. _sparseMaps];

    public XattrSet[] XattrSets => [.. _xattrSets];

    /// <summary>A directory that no layer lists: root-owned, 0755, as old as time.</summary>
    public static ImageTree.Node ImplicitDirectory => new() { Mode = (ushort)(FileMode.Directory | 0b111_101_101), Layer = -1, XattrSet = -1 };

    /// <summary>
    /// The node that an entry makes, without names and children. Mode, owner, time and, if it has any, extended attributes
    /// are those of <paramref name="attributes"/>: the same entry, or the last hard link to it.
    /// </summary>
    public ImageTree.Node MakeNode(in LayerEntry entry, in LayerEntry attributes, short layer)
    {
        var node = new ImageTree.Node
        {
            Mode = (ushort)(FileMode.TypeOf(entry.Type) | (attributes.Mode & 0xFFFu)),
            Uid = attributes.Uid,
            Gid = attributes.Gid,
            MtimeSeconds = attributes.MtimeSeconds,
            MtimeNanoseconds = attributes.MtimeNanoseconds,
            Layer = layer,
            XattrSet = XattrSetOf(layer, attributes.XattrSet >= 0 ? attributes.XattrSet : entry.XattrSet),
        };
        switch (entry.Type)
        {
            case EntryType.File:
                (node.Size, node.Place) = (entry.Size, entry.DataOffset);
                if (entry.SparseMap > 0)
                {
                    _sparseMaps.Add(layers[layer].SparseMaps[entry.SparseMap - 1]);
                    node.SparseMap = _sparseMaps.Count;
                }
                break;
            case EntryType.Symlink:
                node.Mode = (ushort)(FileMode.Symlink | 0b111_111_111); // what Linux makes of every link, whatever the tar says
                var target = layers[layer].LinkTargets[entry.LinkTarget].Span;
                (node.Size, node.Place) = (target.Length, _linkTargets.WrittenCount);
                _linkTargets.Write(target);
                break;
            case EntryType.CharacterDevice or EntryType.BlockDevice:
                node.Place = ((long)entry.DeviceMajor << 32) | entry.DeviceMinor;
                break;
            case EntryType.Directory or EntryType.Fifo:
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(entry), entry.Type, "makes no node");
        }
        return node;
    }

    private int XattrSetOf(short layer, int set)
    {
        if (set < 0)
        {
            return -1;
        }
        if (!_known.TryGetValue((layer, set), out int known))
        {
            known = _xattrSets.Count;
            _xattrSets.Add(new XattrSet(layers[layer].XattrSets[set]));
            _known.Add((layer, set), known);
        }
        return known;
    }
}
