using System.Buffers.Binary;

namespace LazyMount.Fuzz;

/// <summary>Takes a fuzzer's input apart; what is not there any more is zero or empty, so that every input means something.</summary>
internal ref struct InputReader(ReadOnlySpan<byte> input)
{
    public ReadOnlySpan<byte> Rest { get; private set; } = input;

    public byte Byte() => Bytes(1) is [var value] ? value : (byte)0;

    public ushort UInt16() => Bytes(2) is { Length: 2 } bytes ? BinaryPrimitives.ReadUInt16LittleEndian(bytes) : (ushort)0;

    public ulong UInt64() => Bytes(8) is { Length: 8 } bytes ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : 0;

    public ReadOnlySpan<byte> Bytes(int length)
    {
        ReadOnlySpan<byte> bytes = Rest[..Math.Min(length, Rest.Length)];
        Rest = Rest[bytes.Length..];
        return bytes;
    }

    /// <summary>As many bytes as the two before them say.</summary>
    public ReadOnlySpan<byte> Block() => Bytes(UInt16());
}
