using System.IO.Hashing;
using LazyMount.Indexes.Model;
using LazyMount.Indexes.Tar;

namespace LazyMount.Indexes.Build;

/// <summary>
/// Collects the distinct sets of extended attributes of a layer. Every set of every index passes here, whatever the index is
/// made from, so this is the place of the rules: which attributes are left out, and what a set may take.
/// </summary>
internal sealed class XattrSetsBuilder(IndexBudget budget)
{
    private readonly List<Xattr[]> _sets = [];
    private readonly Dictionary<ulong, int> _byHash = [];
    private readonly List<Attribute> _set = []; // in _bytes: most sets are known already, and cost nothing
    private readonly ByteBuffer _bytes = new();
    private readonly XxHash3 _hash = new();
    private long _allBytes;

    private readonly record struct Attribute(int Name, int Value, int End)
    {
        public ReadOnlySpan<byte> NameIn(ByteBuffer bytes) => bytes.Bytes[Name..Value];

        public ReadOnlySpan<byte> ValueIn(ByteBuffer bytes) => bytes.Bytes[Value..End];
    }

    /// <summary>Begins a set.</summary>
    public void Begin()
    {
        _set.Clear();
        _bytes.Clear();
    }

    /// <summary>Adds an attribute to the set. Returns null, or why the attribute is left out.</summary>
    /// <exception cref="InvalidDataException">The attributes of the entry, or of all entries, pass a bound.</exception>
    public string? Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        IndexLimits limits = budget.Limits;
        if (name.Length > limits.XattrNameLength || value.Length > limits.XattrValueLength || name.Contains((byte)0) || name.IsEmpty)
        {
            return $"its attribute {TarText.Quote(name)} is larger than Linux allows (the file is shown without it)";
        }
        if (name.StartsWith("trusted.overlay."u8))
        {
            return $"its attribute {TarText.Quote(name)} belongs to overlayfs, and no container sees it (the file is shown without it)";
        }
        if (_set.Count == limits.XattrsOfEntry || _bytes.Length + name.Length + value.Length > limits.XattrBytesOfEntry)
        {
            throw new InvalidDataException($"an entry has more than {limits.XattrsOfEntry} extended attributes, or more than {limits.XattrBytesOfEntry} bytes of them");
        }
        _allBytes += name.Length + value.Length + IndexBudget.Xattr;
        if (_allBytes > limits.XattrBytes)
        {
            throw new InvalidDataException($"the extended attributes of its entries take more than {limits.XattrBytes} bytes together");
        }
        int start = _bytes.Length;
        _bytes.Append(name);
        _bytes.Append(value);
        _set.Add(new Attribute(start, start + name.Length, _bytes.Length));
        return null;
    }

    /// <summary>Ends the set. Returns its number, which equal sets share, or -1 for a set without attributes.</summary>
    public int End()
    {
        if (_set.Count == 0)
        {
            return -1;
        }
        if (_set.Count > 1)
        {
            _set.Sort((a, b) => a.NameIn(_bytes).SequenceCompareTo(b.NameIn(_bytes)));
        }
        foreach (Attribute attribute in _set)
        {
            _hash.Append(attribute.NameIn(_bytes));
            _hash.Append([0]);
            _hash.Append(attribute.ValueIn(_bytes));
        }
        ulong key = _hash.GetCurrentHashAsUInt64();
        _hash.Reset();
        if (_byHash.TryGetValue(key, out int known) && IsTheSet(_sets[known]))
        {
            return known;
        }
        budget.Take(IndexBudget.XattrSet + (long)_set.Count * IndexBudget.Xattr + _bytes.Length);
        _sets.Add([.. _set.Select(each => new Xattr(each.NameIn(_bytes).ToArray(), each.ValueIn(_bytes).ToArray()))]);
        return _byHash[key] = _sets.Count - 1;
    }

    public Xattr[][] Build() => [.. _sets];

    private bool IsTheSet(Xattr[] set)
    {
        if (set.Length != _set.Count)
        {
            return false;
        }
        for (int i = 0; i < set.Length; i++)
        {
            if (!set[i].Name.Span.SequenceEqual(_set[i].NameIn(_bytes)) || !set[i].Value.Span.SequenceEqual(_set[i].ValueIn(_bytes)))
            {
                return false;
            }
        }
        return true;
    }
}
