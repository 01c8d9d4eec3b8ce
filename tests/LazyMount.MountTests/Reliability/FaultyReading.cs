using System.Diagnostics;
using System.Globalization;
using LazyMount.MountTests.EndToEnd;
using LazyMount.MountTests.Posix;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Reliability;

/// <summary>
/// Sixteen threads that read random ranges of random files of a mount and compare every byte with the truth, while chunks are taken
/// out of the cache, so that the registry is asked again and again. A read may fail with EIO; it may not give a wrong byte, and
/// not hang.
/// </summary>
/// <param name="lazymount">Whose cache it is.</param>
/// <param name="mount">The mount point.</param>
/// <param name="tree">What the image holds.</param>
/// <param name="seed">Tells which bytes are read.</param>
internal sealed class FaultyReading(LazyMountCli lazymount, string mount, KnownTree tree, int seed)
{
    /// <summary>What the daemon allows a reader, in seconds (--read-timeout).</summary>
    public const int ReadTimeout = 10;

    // A read of the largest size is four requests when the kernel reads ahead; the rest is for a busy machine.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(4 * ReadTimeout + 10);

    private const int Threads = 16, LargestRead = 400_000, EIO = 5, EINTR = 4;

    private readonly long[] _began = new long[Threads];
    private volatile string? _failure;
    private volatile bool _stops;
    private long _reads, _bytes, _errors, _longest;
    private int _runs;

    /// <summary>Reads that gave bytes.</summary>
    public long Reads => Interlocked.Read(ref _reads);

    /// <summary>Bytes that were compared.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Reads that failed with EIO.</summary>
    public long Errors => Interlocked.Read(ref _errors);

    /// <summary>The longest read, whether it failed or not.</summary>
    public TimeSpan Longest => TimeSpan.FromTicks(Interlocked.Read(ref _longest));

    /// <summary>Reads for a time; other bytes each time that it is called. Null, or what went wrong.</summary>
    /// <param name="time">How long.</param>
    /// <param name="readsPerThread">Ends earlier after so many reads of each thread.</param>
    /// <param name="watch">Called every half second.</param>
    public string? Run(TimeSpan time, int readsPerThread = int.MaxValue, Action? watch = null)
    {
        _stops = false;
        _runs++;
        Thread[] threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() => Read(number, readsPerThread)) { IsBackground = true })];
        Array.ForEach(threads, thread => thread.Start());
        var clock = Stopwatch.StartNew();
        for (int round = 0; _failure is null && clock.Elapsed < time && threads.Any(thread => thread.IsAlive); round++)
        {
            Thread.Sleep(500);
            ForgetChunks(round);
            FailWhenStuck();
            watch?.Invoke();
        }
        _stops = true;
        while (_failure is null && threads.Any(thread => thread.IsAlive))
        {
            Thread.Sleep(50);
            FailWhenStuck();
        }
        return _failure;
    }

    /// <summary>Reads every file from its first to its last byte, at once. Null, or what went wrong.</summary>
    public string? ReadAll()
    {
        ForgetChunks(0);
        Parallel.ForEach(tree.Layers.SelectMany(layer => layer), new ParallelOptions { MaxDegreeOfParallelism = 4 }, (file, state) =>
        {
            byte[] buffer = new byte[file.Content.Length + 1];
            int fd = Libc.Open(Path.Combine(mount, file.Path));
            (int read, int error) = ReadFully(fd, 0, buffer);
            Libc.Close(fd);
            if (error != 0 || !buffer.AsSpan(0, read).SequenceEqual(file.Content))
            {
                _failure ??= error != 0 ? $"{file.Path} gives error {error} at byte {read}" : $"{file.Path} is wrong from byte {buffer.AsSpan(0, read).CommonPrefixLength(file.Content)} on";
                state.Stop();
            }
        });
        return _failure;
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Reads} reads of {Bytes >> 20} MiB, {Errors} failed with EIO, the longest took {Longest.TotalSeconds:0.0} s");

    private void Read(int number, int count)
    {
        var random = new Random(unchecked((_runs * 7919 + seed) * Threads + number));
        byte[] buffer = new byte[LargestRead];
        for (int i = 0; i < count && !_stops && _failure is null; i++)
        {
            (string path, byte[] content)[] layer = tree.Layers[random.Next(tree.Layers.Length)];
            (string path, byte[] content) = layer[random.Next(layer.Length)];
            int offset = random.Next(content.Length + 10);
            int length = random.Next(2) == 0 ? random.Next(LargestRead) : random.Next(5000);
            bool cached = random.Next(4) == 0;
            Volatile.Write(ref _began[number], Stopwatch.GetTimestamp());
            int fd = cached ? Libc.Open(Path.Combine(mount, path)) : Libc.OpenUncached(Path.Combine(mount, path));
            (int read, int error) = ReadFully(fd, offset, buffer.AsMemory(0, length).Span);
            Libc.Close(fd);
            TimeSpan took = Stopwatch.GetElapsedTime(Interlocked.Exchange(ref _began[number], 0));
            InterlockedMax(ref _longest, took.Ticks);

            ReadOnlySpan<byte> expected = content.AsSpan(Math.Min(offset, content.Length));
            expected = expected[..Math.Min(length, expected.Length)];
            // What came before an error is right, too.
            bool isRight = error == 0 ? expected.SequenceEqual(buffer.AsSpan(0, read)) : expected.StartsWith(buffer.AsSpan(0, read));
            if (!isRight)
            {
                _failure ??= $"{path} is wrong somewhere in [{offset}, {offset + length}): {read} bytes instead of {expected.Length}, the first {expected.CommonPrefixLength(buffer.AsSpan(0, read))} of them right";
            }
            else if (error is not (0 or EIO))
            {
                _failure ??= $"a read of {path} fails with error {error} and not with EIO";
            }
            Interlocked.Add(ref _bytes, read);
            Interlocked.Increment(ref error == 0 ? ref _reads : ref _errors);
        }
    }

    private static (int Read, int Error) ReadFully(int fd, long offset, Span<byte> buffer)
    {
        // pread takes an array here, and a read may be shorter than asked for.
        byte[] piece = new byte[Math.Min(buffer.Length, 1 << 20)];
        int filled = 0;
        while (filled < buffer.Length)
        {
            nint read = Libc.pread(fd, piece, Math.Min(piece.Length, buffer.Length - filled), offset + filled);
            if (read <= 0)
            {
                if (Libc.Error(read) == EINTR)
                {
                    continue; // a signal of the runtime's, to this thread
                }
                return (filled, Libc.Error(read));
            }
            piece.AsSpan(0, (int)read).CopyTo(buffer[filled..]);
            filled += (int)read;
        }
        return (filled, 0);
    }

    /// <summary>Takes half of the chunks out of the cache's segments.</summary>
    private void ForgetChunks(int round)
    {
        foreach (string segment in CacheFiles.All(lazymount).Where(file => file.Contains("/chunks/", StringComparison.Ordinal) && Path.GetFileName(file).All(char.IsAsciiDigit)))
        {
            try
            {
                CacheSegment.Forget(segment, [.. Enumerable.Range(0, CacheSegment.Chunks).Where(chunk => chunk % 2 == round % 2)]);
            }
            catch (IOException)
            {
                // It has gone meanwhile.
            }
        }
    }

    private void FailWhenStuck()
    {
        foreach (ref long began in _began.AsSpan())
        {
            if (Volatile.Read(ref began) is not 0 and var since && Stopwatch.GetElapsedTime(since) > s_limit)
            {
                _failure ??= $"a read has not ended after {s_limit.TotalSeconds} s";
            }
        }
    }

    private static void InterlockedMax(ref long target, long value)
    {
        for (long now = Interlocked.Read(ref target); value > now;)
        {
            now = Interlocked.CompareExchange(ref target, value, now) is var seen && seen == now ? value : seen;
        }
    }
}
