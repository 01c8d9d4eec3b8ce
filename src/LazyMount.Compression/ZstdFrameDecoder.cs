using ZstdSharp;
using ZstdSharp.Unsafe;

namespace LazyMount.Compression;

/// <summary>
/// ZstdSharp's streaming decoder, which stops at the end of a frame; its safe face goes on into the next one.
/// Unsafe: the pointers are those of two spans, pinned for the call and given with their lengths.
/// </summary>
internal sealed unsafe class ZstdFrameDecoder : IDisposable
{
    private ZSTD_DCtx_s* _context = Methods.ZSTD_createDCtx();

    ~ZstdFrameDecoder() => Free();

    /// <summary>Begins a frame.</summary>
    public void Reset() => Methods.ZSTD_DCtx_reset(_context, ZSTD_ResetDirective.ZSTD_reset_session_only).EnsureZstdSuccess();

    /// <summary>Decodes until the input is consumed, the output is full or the frame has ended.</summary>
    /// <returns>Whether the frame has ended, its checksum verified.</returns>
    /// <exception cref="ZstdException">It is malformed.</exception>
    public bool Decode(ReadOnlySpan<byte> input, Span<byte> output, out int consumed, out int written)
    {
        ObjectDisposedException.ThrowIf(_context == null, this);
        fixed (byte* from = input, to = output)
        {
            var source = new ZSTD_inBuffer_s { src = from, size = (nuint)input.Length };
            var destination = new ZSTD_outBuffer_s { dst = to, size = (nuint)output.Length };
            nuint left = Methods.ZSTD_decompressStream(_context, &destination, &source).EnsureZstdSuccess();
            consumed = (int)source.pos;
            written = (int)destination.pos;
            return left == 0;
        }
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        Methods.ZSTD_freeDCtx(_context); // of null: nothing
        _context = null;
    }
}
