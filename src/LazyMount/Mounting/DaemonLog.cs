using LazyMount.Cli;
using LazyMount.Output;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// The log file of a daemon. Our own in the state directory keeps the last 16 to 32 MiB: a full file becomes NAME.1 in the place of the
/// one before. A file that the user has named is the user's to rotate.
/// </summary>
internal sealed class DaemonLog : Stream
{
    /// <summary>What is appended to the name of the file before this one.</summary>
    public const string OlderPart = ".1";

    /// <summary>Bytes of one file.</summary>
    public const long DefaultLimit = 16 << 20;

    private readonly string _path;
    private readonly SafeFileHandle _file;
    private readonly StandardStream _stream;
    private readonly long _limit;
    private readonly Lock _gate = new();
    private long _length; // guarded by _gate
    private bool _isStandardOutput; // guarded by _gate

    private DaemonLog(string path, bool truncate, long limit)
    {
        (_path, _limit) = (path, limit);
        _file = Interop.OpenLog(path, truncate);
        _stream = new StandardStream(_file) { DropsWhatFails = true };
    }

    /// <summary>An empty log file with a limit.</summary>
    public static DaemonLog Start(string path, long limit = DefaultLimit) => new(path, truncate: true, limit);

    /// <summary>The log file of the process before this one, with its limit.</summary>
    public static DaemonLog Continue(string path, long limit = DefaultLimit)
    {
        var log = new DaemonLog(path, truncate: false, limit);
        log._length = RandomAccess.GetLength(log._file);
        return log;
    }

    /// <summary>A log file that others write to as well, without a limit.</summary>
    public static DaemonLog Append(string path) => new(path, truncate: false, long.MaxValue);

    /// <summary>Redirects the process's standard output and standard error to the log.</summary>
    public void TakeStandardOutput()
    {
        lock (_gate)
        {
            _isStandardOutput = true;
            Interop.Redirect(Interop.StandardOutput, _file);
            Interop.Redirect(Interop.StandardError, _file);
        }
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        lock (_gate)
        {
            if (_length > 0 && _length + buffer.Length > _limit)
            {
                StartAnew();
            }
            _length += buffer.Length;
            _stream.Write(buffer);
        }
    }

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        _stream.Dispose();
        _file.Dispose();
        base.Dispose(disposing);
    }

    private void StartAnew()
    {
        _length = 0; // also when it fails: then the file grows on, and this is tried again later
        try
        {
            File.Move(_path, _path + OlderPart, overwrite: true);
            using SafeFileHandle next = Interop.OpenLog(_path, truncate: true);
            // The descriptor stays the same, for all that have it.
            Interop.Redirect((int)_file.DangerousGetHandle(), next);
            if (_isStandardOutput)
            {
                Interop.Redirect(Interop.StandardOutput, next);
                Interop.Redirect(Interop.StandardError, next);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CommandException)
        {
            // The state directory was removed, or is not ours any more.
        }
    }
}
