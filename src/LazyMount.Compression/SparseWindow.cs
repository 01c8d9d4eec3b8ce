namespace LazyMount.Compression;

/// <summary>
/// The window of one checkpoint, reduced to what decoding from there really needs: it starts as zeros, and every byte
/// that a back-reference reaches is copied in. After <see cref="Inflater.WindowSize"/> bytes of output no reference
/// can reach back beyond the checkpoint, and the window is final.
/// </summary>
internal sealed class SparseWindow
{
    private readonly byte[] _bytes = new byte[Inflater.WindowSize];
    private int _first = Inflater.WindowSize;

    /// <summary>Keeps <paramref name="reached"/>, the first byte of which stands <paramref name="distance"/> bytes before the checkpoint.</summary>
    public void Keep(ReadOnlySpan<byte> reached, int distance)
    {
        int at = Inflater.WindowSize - distance;
        reached.CopyTo(_bytes.AsSpan(at));
        _first = Math.Min(_first, at);
    }

    /// <summary>The bytes from the first reached one up to the checkpoint, unreached ones zero.</summary>
    public byte[] ToArray() => _bytes.AsSpan(_first).ToArray();
}
