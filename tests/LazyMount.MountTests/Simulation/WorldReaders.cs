using System.Diagnostics;
using System.Globalization;
using System.Text;
using LazyMount.MountTests.Posix;
using LazyMount.TestKit;

namespace LazyMount.MountTests.Simulation;

/// <summary>
/// Threads that use a mount as programs do, and compare every answer with the oracle. An answer is right, or it is an error that
/// <see cref="WorldBreakages"/> allows for the time of the operation.
/// </summary>
internal sealed class WorldReaders : IDisposable
{
    /// <summary>No operation may take longer. It is several times --read-timeout, because an operation may be several requests.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(150);

    private const int Threads = 8, LargestRead = 300_000, Page = 4096;

    private readonly string _mount;
    private readonly WorldTree _tree;
    private readonly WorldBreakages _broken;
    private readonly WorldFigures _figures;
    private readonly int _seed;
    private readonly Thread[] _threads;
    private readonly ReaderWriterLockSlim _gate = new();
    private readonly long[] _began = new long[Threads];
    private readonly string[] _doing = new string[Threads];
    private volatile string? _failure;
    private volatile bool _stops;
    private int _generation, _reading;
    private long _answers;

    public WorldReaders(string mount, WorldTree tree, WorldBreakages broken, WorldFigures figures, int seed)
    {
        (_mount, _tree, _broken, _figures, _seed) = (mount, tree, broken, figures, seed);
        _threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() => Run(number)) { IsBackground = true, Name = $"reader {number}" })];
        Array.ForEach(_threads, thread => thread.Start());
    }

    /// <summary>What went wrong, or null. A thread that is stuck is something that went wrong.</summary>
    public string? Failure
    {
        get
        {
            for (int i = 0; i < Threads; i++)
            {
                if (Volatile.Read(ref _began[i]) is not 0 and var since && Stopwatch.GetElapsedTime(since) > Limit)
                    _failure ??= $"stuck: {_doing[i]} has not ended after {Limit.TotalSeconds} s";
            }
            return _failure;
        }
    }

    /// <summary>Reads past the page cache that have succeeded: a worker has answered them.</summary>
    public long Answers => Interlocked.Read(ref _answers);

    /// <summary>Reads of content that are under way.</summary>
    public int Reading => Volatile.Read(ref _reading);

    /// <summary>Waits until no operation is under way and does something meanwhile. Descriptors that were held open are opened anew afterwards. False when an operation is stuck.</summary>
    public bool WhileNobodyReads(Action act)
    {
        while (!_gate.TryEnterWriteLock(TimeSpan.FromSeconds(1)))
        {
            if (Failure is not null)
                return false;
        }
        try
        {
            _generation++;
            act();
        }
        finally
        {
            _gate.ExitWriteLock();
        }
        return true;
    }

    /// <summary>Ends the threads. Null, or what went wrong.</summary>
    public string? Stop()
    {
        _stops = true;
        while (Failure is null && _threads.Any(thread => thread.IsAlive))
            Thread.Sleep(20);
        return Failure;
    }

    public void Dispose()
    {
        _stops = true;
        if (_threads.All(thread => thread.Join(TimeSpan.FromSeconds(5))))
            _gate.Dispose();
    }

    private void Run(int number)
    {
        var random = new Random(unchecked(_seed * Threads + number));
        var buffers = new Buffers();
        int held = -1, heldGeneration = -1;
        string heldPath = "";
        try
        {
            while (!_stops && _failure is null)
            {
                _gate.EnterReadLock();
                try
                {
                    if (held >= 0 && (heldGeneration != _generation || random.Next(40) == 0))
                    {
                        Libc.Close(held);
                        held = -1;
                    }
                    Do(number, random, buffers, ref held, ref heldPath);
                    heldGeneration = _generation;
                }
                finally
                {
                    _gate.ExitReadLock();
                }
                if (random.Next(20) == 0)
                    Thread.Sleep(random.Next(20));
            }
        }
        catch (Exception e)
        {
            _failure ??= $"{_doing[number]}: {e}";
        }
        finally
        {
            if (held >= 0)
                Libc.Close(held);
        }
    }

    private void Do(int number, Random random, Buffers buffers, ref int held, ref string heldPath)
    {
        int kind = random.Next(20);
        string path = Pick(random, kind switch { < 11 => _tree.Files, 11 or 12 => _tree.Directories, 13 when _tree.Links.Length > 0 => _tree.Links, _ => _tree.Paths });
        if (kind is 9 or 10 && held >= 0)
            path = heldPath;
        bool isData = kind < 11;
        string name = kind switch { < 4 => "direct", < 6 => "cached", < 8 => "mapped", 8 => "whole", < 11 => "held", < 13 => "listing", 13 => "readlink", < 16 => "stat", < 18 => "xattrs", _ => "missing" };
        (long offset, int length) = isData ? Range(random, _tree.Content(path).Length, isWhole: kind == 8) : (0, 0);
        _doing[number] = isData ? string.Create(CultureInfo.InvariantCulture, $"{name} read of '{path}' [{offset}, {offset + length})") : $"{name} of '{path}'";
        WorldBreakages.Moment moment = _broken.Now();
        Volatile.Write(ref _began[number], Stopwatch.GetTimestamp());
        if (isData)
            Interlocked.Increment(ref _reading);
        int error;
        string? wrong = null;
        try
        {
            string full = _mount + path;
            error = kind switch
            {
                < 4 => ReadOnce(full, direct: true, offset, length, path, buffers, ref wrong),
                < 6 or 8 => ReadOnce(full, direct: false, offset, length, path, buffers, ref wrong),
                < 8 => Map(full, offset, length, path, buffers, ref wrong),
                < 11 => ReadHeld(full, offset, length, path, buffers, ref held, ref wrong),
                < 13 => List(full, path, random, ref wrong),
                13 when _tree[path].Type == 'l' => ReadLink(full, path, ref wrong),
                < 16 => Stat(full, path, random, ref wrong),
                < 18 => Xattrs(full, path, ref wrong),
                _ => Missing(full, random, ref wrong),
            };
        }
        finally
        {
            if (isData)
                Interlocked.Decrement(ref _reading);
        }
        heldPath = held >= 0 && kind is 9 or 10 ? path : heldPath;
        TimeSpan took = Stopwatch.GetElapsedTime(Interlocked.Exchange(ref _began[number], 0));
        _figures.Took(took);
        _figures.Count($"{name} {(error == 0 ? "right" : "failed")}");
        if (isData)
            _figures.Count("KiB compared", length >> 10);
        if (wrong is not null)
            _failure ??= $"wrong: {_doing[number]}: {wrong}";
        else if (error == 0 && kind < 4)
            Interlocked.Increment(ref _answers);
        else if (error != 0 && !_broken.Allows(error, isData, moment))
            _failure ??= string.Create(CultureInfo.InvariantCulture, $"not allowed: {_doing[number]} fails with error {error} after {took.TotalSeconds:0.0} s; {_broken.Describe(moment)}");
    }

    private static string Pick(Random random, string[] from) => from[random.Next(from.Length)];

    private static (long Offset, int Length) Range(Random random, int size, bool isWhole)
        => isWhole ? (0, size + 1) : (random.Next(size + 10), random.Next(2) == 0 ? random.Next(LargestRead) : random.Next(1, 5000));

    private ReadOnlySpan<byte> Expected(string path, long offset, int length)
    {
        ReadOnlySpan<byte> content = _tree.Content(path);
        content = content[(int)Math.Min(offset, content.Length)..];
        return content[..Math.Min(length, content.Length)];
    }

    // What came before an error must be right, too.
    private void Compare(string path, long offset, int length, ReadOnlySpan<byte> read, int error, ref string? wrong)
    {
        ReadOnlySpan<byte> expected = Expected(path, offset, length);
        if (error == 0 ? !expected.SequenceEqual(read) : !expected.StartsWith(read))
            wrong = $"{read.Length} bytes instead of {expected.Length}, of which the first {expected.CommonPrefixLength(read)} are right{(error == 0 ? "" : $", then error {error}")}";
    }

    private int ReadOnce(string full, bool direct, long offset, int length, string path, Buffers buffers, ref string? wrong)
    {
        int fd = Open(full, direct, out int error);
        if (fd < 0)
            return error;
        error = Read(fd, offset, length, path, buffers, ref wrong);
        Libc.Close(fd);
        return error;
    }

    private int ReadHeld(string full, long offset, int length, string path, Buffers buffers, ref int held, ref string? wrong)
    {
        if (held < 0 && (held = Open(full, direct: true, out int error)) < 0)
            return error;
        return Read(held, offset, length, path, buffers, ref wrong);
    }

    private int Read(int fd, long offset, int length, string path, Buffers buffers, ref string? wrong)
    {
        int filled = 0, error = 0;
        while (filled < length)
        {
            nint read = Libc.pread(fd, buffers.Piece, Math.Min(buffers.Piece.Length, length - filled), offset + filled);
            error = Libc.Error(read);
            if (error == Libc.EINTR)
                continue; // a signal of the runtime's, to this thread
            if (read <= 0)
                break;
            buffers.Piece.AsSpan(0, (int)read).CopyTo(buffers.Of(length).AsSpan(filled));
            filled += (int)read;
        }
        error = filled == length ? 0 : error;
        Compare(path, offset, length, buffers.Of(length).AsSpan(0, filled), error, ref wrong);
        return error;
    }

    // In a process of its own. A page fault that waits for the mount may hold the lock on its process's memory, so that whatever else in that process
    // wants memory waits too: here that would be the proxy that the mount itself waits for. A page that cannot be read ends the process with SIGBUS.
    private int Map(string full, long offset, int length, string path, Buffers buffers, ref string? wrong)
    {
        int size = _tree.Content(path).Length;
        offset = Math.Min(offset, size);
        length = (int)Math.Min(length, size - offset);
        int fd = Open(full, direct: false, out int error);
        if (fd < 0)
            return error;
        _ = Libc.posix_fadvise(fd, offset, length, Libc.DontNeed);
        Libc.Close(fd);
        var start = new ProcessStartInfo("perl", ["-e", MapAndWrite, full, $"{offset}", $"{length}"]) { RedirectStandardOutput = true };
        using Process reader = Process.Start(start)!;
        int filled = reader.StandardOutput.BaseStream.ReadAtLeast(buffers.Of(length).AsSpan(0, length), length, throwOnEndOfStream: false);
        reader.WaitForExit();
        const int KilledBySigBus = 128 + 7;
        error = reader.ExitCode == KilledBySigBus ? Libc.EIO : reader.ExitCode;
        Compare(path, offset, length, buffers.Of(length).AsSpan(0, filled), error, ref wrong);
        return error;
    }

    private const string MapAndWrite = """open(my $file, "<:mmap", $ARGV[0]) or exit $!; seek($file, $ARGV[1], 0) or exit $!; read($file, my $bytes, $ARGV[2]); binmode(STDOUT); print($bytes);""";

    // Reads with a small buffer, goes back to a place that it has seen, and reads on from there.
    private int List(string full, string path, Random random, ref string? wrong)
    {
        int fd = Open(full, direct: false, out int error);
        if (fd < 0)
            return error;
        var seen = new List<(string Name, long Next)>();
        error = ReadNames(fd, random.Next(300, 8000), seen);
        if (error == 0 && !_tree.Listing(path).SetEquals(seen.Select(entry => entry.Name)) || seen.Select(entry => entry.Name).Distinct().Count() != seen.Count)
            wrong = $"the names are {string.Join(' ', seen.Select(entry => entry.Name))}";
        if (error == 0 && seen.Count > 0 && random.Next(2) == 0)
        {
            int place = random.Next(seen.Count);
            var again = new List<(string, long)>();
            error = Libc.Error((nint)Libc.lseek(fd, seen[place].Next, 0));
            error = error == 0 ? ReadNames(fd, random.Next(300, 8000), again) : error;
            if (error == 0 && wrong is null && !seen.Skip(place + 1).SequenceEqual(again))
                wrong = $"from place {seen[place].Next} on the names are other ones than before";
        }
        Libc.Close(fd);
        return error;
    }

    private static int ReadNames(int fd, int bufferSize, List<(string, long)> names)
    {
        byte[] buffer = new byte[bufferSize];
        while (true)
        {
            nint length = Libc.getdents64(fd, buffer, bufferSize);
            if (length < 0 && Libc.Error(length) == Libc.EINTR)
                continue;
            if (length <= 0)
                return Libc.Error(length);
            for (int at = 0; at < length; at += BitConverter.ToUInt16(buffer, at + 16))
            {
                int name = at + 19, end = Array.IndexOf(buffer, (byte)0, name);
                names.Add((Encoding.Latin1.GetString(buffer, name, end - name), BitConverter.ToInt64(buffer, at + 8)));
            }
        }
    }

    private int ReadLink(string full, string path, ref string? wrong)
    {
        byte[] buffer = new byte[4096];
        nint length = Libc.readlink(Libc.Z(full), buffer, buffer.Length);
        if (length >= 0 && Encoding.Latin1.GetString(buffer, 0, (int)length) is var target && target != _tree[path].LinkTarget)
            wrong = $"it leads to '{target}'";
        return Libc.Error(length);
    }

    private int Stat(string full, string path, Random random, ref string? wrong)
    {
        int flags = Libc.NoFollow | (random.Next(2) == 0 ? Libc.ForceSync : 0);
        int error = Libc.Error(Libc.statx(Libc.AtFdCwd, Libc.Z(full), flags, Libc.BasicStats, out Libc.Statx stat));
        TreeNode node = _tree[path];
        string time = string.Create(CultureInfo.InvariantCulture, $"{stat.ModificationTime.Seconds}.{stat.ModificationTime.Nanoseconds:D9}");
        if (error == 0 && (stat.Mode != node.Mode || stat.Uid != node.Uid || stat.Gid != node.Gid || time != node.Mtime
            || (node.Type != 'd' && (stat.Size != node.Size || stat.LinkCount != node.LinkCount))))
        {
            wrong = $"mode {Convert.ToString(stat.Mode, 8)}, size {stat.Size}, {stat.LinkCount} links, time {time}; expected {node}";
        }
        return error;
    }

    private int Xattrs(string full, string path, ref string? wrong)
    {
        byte[] list = new byte[1000], value = new byte[1000];
        nint length = Libc.llistxattr(Libc.Z(full), list, list.Length);
        if (length < 0) // the FUSE face of an image without any attributes has no call for them
            return Libc.Error(length) == Libc.EOPNOTSUPP && _tree[path].Xattrs.Length == 0 ? 0 : Libc.Error(length);
        var attributes = new List<string>();
        foreach (string name in Encoding.Latin1.GetString(list, 0, (int)length).Split('\0', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal))
        {
            nint size = Libc.lgetxattr(Libc.Z(full), Libc.Z(name), value, value.Length);
            if (size < 0)
                return Libc.Error(size);
            attributes.Add($"{name}={Convert.ToHexStringLower(value, 0, (int)size)}");
        }
        if (string.Join(' ', attributes) is var text && text != _tree[path].Xattrs)
            wrong = $"[{text}] instead of [{_tree[path].Xattrs}]";
        return 0;
    }

    private static int Missing(string full, Random random, ref string? wrong)
    {
        int error = Libc.Error(Libc.statx(Libc.AtFdCwd, Libc.Z($"{full}{(full.EndsWith('/') ? "" : "-")}{random.Next(50)} is not there"), Libc.NoFollow, Libc.BasicStats, out _));
        if (error == 0)
            wrong = "there is a file that the image does not have";
        return error == Libc.ENOENT ? 0 : error;
    }

    private static int Open(string full, bool direct, out int error)
    {
        int fd;
        do
        {
            fd = Libc.open(Libc.Z(full), (direct ? Libc.Direct : 0) | Libc.CloseOnExec, 0);
            error = Libc.Error(fd);
        }
        while (error == Libc.EINTR);
        if (direct && error == Libc.EINVAL)
        {
            fd = Open(full, direct: false, out error);
            if (fd >= 0)
                _ = Libc.posix_fadvise(fd, 0, 0, Libc.DontNeed);
        }
        return fd;
    }

    /// <summary>What one thread reads into.</summary>
    private sealed class Buffers
    {
        private byte[] _all = new byte[LargestRead];

        public byte[] Piece { get; } = new byte[1 << 20];

        public byte[] Of(int length) => _all.Length >= length ? _all : _all = new byte[length];
    }
}
