using SharpCompress.Compressors;
using SharpCompress.Compressors.BZip2;

namespace LazyMount.Compression;

/// <summary>
/// bzip2 streams one after another, as bzip2, pbzip2 and lbzip2 write them. What follows the last one is ignored, as
/// <c>bzip2 -d</c> does. SharpCompress decodes each and verifies the checksums of its blocks and of the whole.
/// </summary>
internal sealed class Bzip2Decoder(PushedStream input) : IPullDecoder
{
    private const int MagicLength = 4;

    private Stream? _stream;

    public static bool HasMagic(ReadOnlySpan<byte> head)
        => head.Length >= MagicLength && head.StartsWith("BZh"u8) && head[3] is >= (byte)'1' and <= (byte)'9';

    public int Read(byte[] buffer)
    {
        while (true)
        {
            if (_stream is null)
            {
                if (input.Position > 0 && !HasMagic(input.Peek(MagicLength)))
                    return 0;
                _stream = BZip2Stream.Create(input, CompressionMode.Decompress, decompressConcatenated: false, leaveOpen: true);
            }
            int read = _stream.Read(buffer, 0, buffer.Length);
            if (read > 0)
                return read;
            _stream.Dispose();
            _stream = null;
        }
    }

    public void Dispose() => _stream?.Dispose();
}
