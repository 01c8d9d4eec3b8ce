using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.IO.Hashing;
using System.Security.Cryptography;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Cache;

/// <summary>
/// A file of the cache that is read in place: every block of it has a checksum, and no byte is used before the checksum of its block was
/// compared. Immutable, thread-safe. It is read with pread(2): a memory map of a file that is cut or cannot be read ends the process.
/// <code>
/// …   data, filled with zeros to whole blocks of 4 KiB
/// …   the checksum of each block of data (XXH3, 8 bytes, the block's number as its seed), filled to whole blocks
/// …   the checksum of each of these blocks
/// 64  magic "LMCHECK\n"; version; zero; bytes of data (8); SHA-256 of the data (32); checksum of these 56 bytes and those before them
/// </code>
/// A file that turns out to be damaged, or on a disk that fails, is deleted, so that whoever wants it next makes it anew.
/// <para>A process that has many open reads further ones into memory when it opens them: descriptors are for files that are opened later.</para>
/// </summary>
public sealed class CheckedFile : IDisposable
{
    /// <summary>Bytes of a block.</summary>
    public const int BlockSize = 1 << BlockBits;

    private const int BlockBits = 12, SumSize = 8, SumsOfBlock = BlockSize / SumSize, FooterSize = 64;
    private const uint Version = 1;

    // Most checksums of checksums: those of 16 GiB of data.
    private const int MaxTop = 1 << 13;

    private const long MaxLength = (long)MaxTop * SumsOfBlock << BlockBits;

    private readonly SafeFileHandle? _file;
    private readonly ReadOnlyMemory<byte> _memory; // in the place of a file
    private readonly string _path;
    private readonly FileIdentity? _origin; // the file that bytes in memory were read from
    private readonly ulong[] _top = [];
    private readonly long _blocks;
    private readonly Digest? _digest;
    private readonly BlockCache _cache;
    private readonly int _shift; // of the slots in the cache, so that the first blocks of many files do not all want the same one
    private int _isOpen;

    private static int s_open, s_opened;

    private CheckedFile(SafeFileHandle file, string path, long length, byte[] digest, ulong[] top, BlockCache cache)
    {
        (_file, _path, Length, _digest, _top) = (file, path, length, Digest.FromSha256(digest), top);
        (_blocks, _cache, _isOpen) = (BlocksFor(length), cache, 1);
        _shift = Interlocked.Increment(ref s_opened) * 7;
        Interlocked.Increment(ref s_open);
    }

    /// <summary>Bytes in memory, read in the same way where they cannot be kept in a file.</summary>
    public CheckedFile(ReadOnlyMemory<byte> data) : this(data, "", null, null)
    {
    }

    private CheckedFile(ReadOnlyMemory<byte> data, string path, FileIdentity? origin, Digest? digest)
    {
        (_memory, _path, _origin, Length, _digest, _cache) = (data, path, origin, data.Length, digest, BlockCache.None);
    }

    /// <summary>How many of these files a process has open at most: an image may have more layers than a process descriptors.</summary>
    internal static int MostOpen { get; set; } = Interop.AllowOpenFiles() / 4;

    /// <summary>Bytes of data.</summary>
    public long Length { get; }

    /// <summary>SHA-256 of the data, as it was when they were written.</summary>
    public Digest Digest => _digest ?? Digest.FromSha256(SHA256.HashData(_memory.Span));

    /// <summary>Opens a file and notes its use; null when there is none that can be used. One that is damaged is deleted.</summary>
    /// <param name="path">The file.</param>
    /// <param name="cachedBlocks">How many blocks are kept in memory at most: a power of two.</param>
    public static CheckedFile? TryOpen(string path, int cachedBlocks) => TryOpen(path, new BlockCache(cachedBlocks));

    /// <summary>As the other overload, for a file that shares a block cache with other files.</summary>
    /// <param name="path">The file.</param>
    /// <param name="cache">Where blocks are kept.</param>
    /// <param name="notesUse">Whether the file counts as used.</param>
    public static CheckedFile? TryOpen(string path, BlockCache cache, bool notesUse = true)
    {
        SafeFileHandle file;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return null; // it stays: there may be no descriptor left, or no permission
        }
        try
        {
            if (Open(file, path, cache) is { } opened)
            {
                if (notesUse)
                    BlobCache.NoteUse(file);
                return Volatile.Read(ref s_open) > MostOpen ? opened.IntoMemory() : opened;
            }
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
        }
        catch (ImageException)
        {
            return null;
        }
        Delete(path, FileIdentity.TryOf(file));
        file.Dispose();
        return null;
    }

    /// <summary>Reads all of a file; one that is damaged is deleted.</summary>
    /// <returns>Its bytes, and whether it is sound.</returns>
    /// <exception cref="IOException">There is no such file.</exception>
    internal static (long Bytes, bool IsSound) Verify(string path)
    {
        long bytes = new FileInfo(path).Length;
        using CheckedFile? file = TryOpen(path, new BlockCache(2), notesUse: false);
        try
        {
            byte[] some = new byte[64 * BlockSize];
            for (long offset = 0; offset < file?.Length; offset += some.Length)
                file.Read(offset, some.AsSpan(0, (int)Math.Min(some.Length, file.Length - offset)));
            return (bytes, file is not null);
        }
        catch (ImageException)
        {
            return (bytes, false);
        }
    }

    /// <summary>Copies bytes out of as many blocks as they take. What is more than a block goes past the cache.</summary>
    /// <exception cref="ImageException"><see cref="ImageError.Local"/>: a block is damaged or cannot be read.</exception>
    /// <exception cref="InvalidDataException">They are not within the file: what led to them is wrong.</exception>
    public void Read(long offset, Span<byte> to)
    {
        if (offset < 0 || offset > Length - to.Length)
            throw new InvalidDataException($"there are no bytes {offset} to {offset + to.Length}");
        if (_file is null)
        {
            _memory.Span.Slice((int)offset, to.Length).CopyTo(to);
            return;
        }
        while (!to.IsEmpty)
        {
            int within = (int)(offset & (BlockSize - 1)), count = Math.Min(to.Length, BlockSize - within);
            if (within == 0 && to.Length > BlockSize)
                Load(offset >> BlockBits, to[..(count = to.Length & -BlockSize)]);
            else
                ReadCached(offset >> BlockBits, within, to[..count]);
            to = to[count..];
            offset += count;
        }
    }

    /// <summary>The error for a file whose content is wrong although its checksums match. Deletes the file.</summary>
    /// <param name="reason">What is wrong, as a clause.</param>
    /// <param name="cause">What found it.</param>
    public ImageException Damaged(string reason, Exception? cause = null)
    {
        if (_path.Length == 0)
            return new ImageException(ImageError.Local, $"cannot use the image's tree in memory: {reason}", cause);
        Delete(_path, _file is null ? _origin : FileIdentity.TryOf(_file));
        return new ImageException(ImageError.Local, $"cannot use the cache file '{_path}': {reason}; it was deleted, so run the command or mount the image again", cause);
    }

    // Another process may have made it anew meanwhile.
    private static void Delete(string path, FileIdentity? file)
    {
        if (file is { } ours && FileIdentity.TryOf(path) is { } there && there.IsSameFile(ours))
            AtomicFile.TryDelete(path);
    }

    /// <summary>Closes the file.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isOpen, 0) == 1)
        {
            Interlocked.Decrement(ref s_open);
            _file!.Dispose();
        }
    }

    private CheckedFile? IntoMemory()
    {
        using (this)
        {
            if (Length > Array.MaxLength)
                return null;
            byte[] data = GC.AllocateUninitializedArray<byte>((int)Length);
            Read(0, data);
            return new CheckedFile(data, _path, FileIdentity.TryOf(_file!), _digest);
        }
    }

    private static long BlocksFor(long bytes) => (bytes + BlockSize - 1) >> BlockBits;


    // Bytes of one block.
    private void ReadCached(long number, int within, Span<byte> to)
    {
        ref BlockCache.Slot slot = ref _cache.SlotOf(number + _shift);
        if (slot.TryRead(this, number, within, to))
            return;
        ulong sum = SumOf(number); // before the slot is taken: it may be the slot of the checksums too
        if (!slot.TryTake(out byte[]? bytes))
        {
            // Somebody else fills it: nobody waits.
            Span<byte> own = stackalloc byte[BlockSize];
            Load(number, own, sum);
            own.Slice(within, to.Length).CopyTo(to);
            return;
        }
        bool isLoaded = false;
        try
        {
            Load(number, bytes, sum);
            bytes.AsSpan(within, to.Length).CopyTo(to);
            isLoaded = true;
        }
        finally
        {
            slot.Give(isLoaded ? this : null, number);
        }
    }

    // Reads whole blocks past the cache.
    private void Load(long number, Span<byte> to)
    {
        Fill(number, to);
        for (; !to.IsEmpty; to = to[BlockSize..], number++)
            Check(number, to[..BlockSize], SumOf(number));
    }

    private void Load(long number, Span<byte> block, ulong sum)
    {
        Fill(number, block);
        Check(number, block, sum);
    }

    private void Fill(long number, Span<byte> to)
    {
        try
        {
            ReadAll(_file!, to, number << BlockBits);
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw Damaged(FileProblem.Reason(e), e);
        }
    }

    private void Check(long number, ReadOnlySpan<byte> block, ulong sum)
    {
        if (XxHash3.HashToUInt64(block, number) != sum)
            throw Damaged($"block {number} does not match its checksum");
    }

    // The checksums of data stand in blocks behind the data, which have theirs in memory.
    private ulong SumOf(long number)
    {
        if (number >= _blocks)
            return _top[number - _blocks];
        Span<byte> sum = stackalloc byte[SumSize];
        ReadCached(_blocks + (number / SumsOfBlock), (int)(number % SumsOfBlock) * SumSize, sum);
        return BinaryPrimitives.ReadUInt64LittleEndian(sum);
    }

    private static void ReadAll(SafeFileHandle file, Span<byte> to, long offset)
    {
        while (!to.IsEmpty)
        {
            int read = RandomAccess.Read(file, to, offset);
            if (read == 0)
                throw new EndOfStreamException("it is truncated");
            to = to[read..];
            offset += read;
        }
    }

    private static CheckedFile? Open(SafeFileHandle file, string path, BlockCache cache)
    {
        long end = RandomAccess.GetLength(file);
        if (end < FooterSize)
            return null;
        Span<byte> footer = stackalloc byte[FooterSize];
        ReadAll(file, footer, end - FooterSize);
        long length = BinaryPrimitives.ReadInt64LittleEndian(footer[16..]), blocks = BlocksFor(length), tops = (blocks + SumsOfBlock - 1) / SumsOfBlock;
        if (!footer.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(footer[8..]) != Version
            || length is < 0 or > MaxLength || end != (blocks + tops << BlockBits) + (tops * SumSize) + FooterSize)
        {
            return null;
        }
        byte[] last = new byte[(tops * SumSize) + FooterSize];
        ReadAll(file, last, end - last.Length);
        if (XxHash3.HashToUInt64(last.AsSpan(0, last.Length - SumSize)) != BinaryPrimitives.ReadUInt64LittleEndian(last.AsSpan(last.Length - SumSize)))
            return null;
        var top = new ulong[tops];
        for (int i = 0; i < top.Length; i++)
            top[i] = BinaryPrimitives.ReadUInt64LittleEndian(last.AsSpan(i * SumSize));
        return new CheckedFile(file, path, length, footer.Slice(24, 32).ToArray(), top, cache);
    }

    private static ReadOnlySpan<byte> Magic => "LMCHECK\n"u8;

    /// <summary>
    /// Blocks of files that are kept in memory, the last for each slot; neighbours have slots of their own. The memory of a slot is used again
    /// for the next block: new memory for each cost a tenth of the time of look-ups at random, and 60 MB of garbage. Nobody waits for anybody:
    /// readers copy bytes out and see afterwards whether somebody wrote meanwhile (a sequence lock).
    /// </summary>
    /// <param name="blocks">How many at most: a power of two.</param>
    public sealed class BlockCache(int blocks)
    {
        internal static readonly BlockCache None = new(0);

        private readonly Slot[] _slots = new Slot[blocks];

        internal ref Slot SlotOf(long number) => ref _slots[(int)number & (_slots.Length - 1)];

        internal struct Slot
        {
            private long _version; // odd: somebody fills it
            private CheckedFile? _file;
            private long _number;
            private byte[]? _bytes;

            /// <summary>Copies bytes of a block that is here. When it is not, <paramref name="to"/> holds anything.</summary>
            public bool TryRead(CheckedFile file, long number, int within, Span<byte> to)
            {
                long version = Volatile.Read(ref _version);
                if ((version & 1) != 0 || _file != file || _number != number || _bytes is not { } bytes)
                    return false;
                bytes.AsSpan(within, to.Length).CopyTo(to);
                Volatile.ReadBarrier();
                return _version == version;
            }

            /// <summary>Takes the slot to fill it, unless somebody has it. Who takes it gives it back.</summary>
            public bool TryTake([NotNullWhen(true)] out byte[]? bytes)
            {
                bytes = null;
                long version = Volatile.Read(ref _version);
                if ((version & 1) != 0 || Interlocked.CompareExchange(ref _version, version + 1, version) != version)
                    return false;
                bytes = _bytes ??= GC.AllocateUninitializedArray<byte>(BlockSize);
                return true;
            }

            /// <summary>Gives the slot back.</summary>
            /// <param name="file">Whose block it holds now; null for none.</param>
            /// <param name="number">The block.</param>
            public void Give(CheckedFile? file, long number)
            {
                (_file, _number) = (file, number);
                Volatile.Write(ref _version, _version + 1);
            }
        }
    }

    /// <summary>Writes such a file, from its first byte to its last.</summary>
    /// <param name="output">Where to; not owned.</param>
    public sealed class Writer(Stream output) : IDisposable
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly List<ulong> _sums = [];
        private byte[] _buffer = new byte[64 << BlockBits], _other = new byte[64 << BlockBits];
        private Task _putting = Task.CompletedTask; // of the other buffer
        private int _filled, _block;

        /// <summary>Bytes of data so far.</summary>
        public long Length { get; private set; }

        /// <summary>Appends data.</summary>
        public void Write(ReadOnlySpan<byte> data)
        {
            while (!data.IsEmpty)
            {
                int count = Math.Min(data.Length, _buffer.Length - _filled);
                data[..count].CopyTo(_buffer.AsSpan(_filled));
                data = data[count..];
                Advance(count);
            }
        }

        /// <summary>Appends zeros up to a length.</summary>
        public void FillTo(long length)
        {
            while (Length < length)
            {
                int count = (int)Math.Min(length - Length, _buffer.Length - _filled);
                _buffer.AsSpan(_filled, count).Clear();
                Advance(count);
            }
        }

        /// <summary>Appends zeros up to the end of a block.</summary>
        public void FillBlock() => FillTo((Length + BlockSize - 1) & -BlockSize);

        /// <summary>A digest of the data so far: a hash of their whole buffers, and what has no whole buffer yet.</summary>
        public byte[] DigestSoFar()
        {
            _putting.GetAwaiter().GetResult();
            return SHA256.HashData([.. _hash.GetCurrentHash(), .. _buffer.AsSpan(0, _filled)]);
        }

        /// <summary>Writes the checksums after the data.</summary>
        /// <returns>SHA-256 of the data.</returns>
        /// <exception cref="IOException">There are more data than such a file may have.</exception>
        public Digest Finish()
        {
            long length = Length;
            if (length > MaxLength)
                throw new IOException($"a file of the cache cannot have more than {MaxLength} bytes");
            _putting.GetAwaiter().GetResult();
            Put(_buffer.AsSpan(0, _filled));
            byte[] sums = Bytes(_sums);
            _sums.Clear();
            PutBlocks(sums);
            byte[] top = Bytes(_sums), last = new byte[top.Length + FooterSize];
            top.CopyTo(last, 0);
            Span<byte> footer = last.AsSpan(top.Length);
            Magic.CopyTo(footer);
            BinaryPrimitives.WriteUInt32LittleEndian(footer[8..], Version);
            BinaryPrimitives.WriteInt64LittleEndian(footer[16..], length);
            Digest digest = Digest.FromSha256(_hash.GetHashAndReset());
            Convert.FromHexString(digest.Hex).CopyTo(footer[24..]);
            BinaryPrimitives.WriteUInt64LittleEndian(footer[56..], XxHash3.HashToUInt64(last.AsSpan(0, last.Length - SumSize)));
            output.Write(last);
            return digest;
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            _putting.ContinueWith(static ended => _ = ended.Exception, TaskScheduler.Default).Wait(); // whoever disposes early does not ask how it went
            _hash.Dispose();
        }

        private void Advance(int count)
        {
            _filled += count;
            Length += count;
            if (_filled == _buffer.Length)
            {
                _putting.GetAwaiter().GetResult();
                (_buffer, _other, _filled) = (_other, _buffer, 0);
                _putting = PutInBackground(_other);
            }
        }

        // A method of its own: what a lambda captures is allocated where its method begins.
        private Task PutInBackground(byte[] data) => Task.Run(() => Put(data));

        private void Put(ReadOnlySpan<byte> data)
        {
            _hash.AppendData(data);
            PutBlocks(data);
        }

        // The last block is filled with zeros.
        private void PutBlocks(ReadOnlySpan<byte> bytes)
        {
            int whole = bytes.Length & -BlockSize;
            for (int at = 0; at < whole; at += BlockSize)
                _sums.Add(XxHash3.HashToUInt64(bytes.Slice(at, BlockSize), _block++));
            output.Write(bytes[..whole]);
            if (whole < bytes.Length)
            {
                byte[] last = new byte[BlockSize];
                bytes[whole..].CopyTo(last);
                PutBlocks(last);
            }
        }

        private static byte[] Bytes(List<ulong> sums)
        {
            byte[] bytes = new byte[sums.Count * SumSize];
            for (int i = 0; i < sums.Count; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(i * SumSize), sums[i]);
            return bytes;
        }
    }
}
