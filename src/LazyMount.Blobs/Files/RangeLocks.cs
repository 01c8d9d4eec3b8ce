using Microsoft.Win32.SafeHandles;

namespace LazyMount.Blobs.Files;

/// <summary>
/// Exclusive locks on ranges of numbers, against other processes and other objects of this class: open file description locks
/// (fcntl(2), F_OFD_SETLK) on a file of no length. Unlike record locks, they are not lost when the process closes another handle
/// of the file. The kernel gives them back when the process dies. Ranges that are locked through one object do not exclude each
/// other. Thread-safe.
/// </summary>
internal sealed class RangeLocks : IDisposable
{
    // How often a range that another holds is tried again.
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(10);

    private const int OwnerOnly = 0x180; // 0600

    private readonly SafeFileHandle _file;

    /// <param name="path">The file, made when there is none.</param>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be opened.</exception>
    public RangeLocks(string path) => _file = Interop.Open(path, Interop.ReadWrite | Interop.Create, OwnerOnly);

    /// <summary>Waits until nobody else has a part of [first, first + count), and locks it until the answer is disposed.</summary>
    /// <returns>Null when others kept a part of it for all of <paramref name="patience"/>, or there are no locks here.</returns>
    /// <exception cref="ObjectDisposedException">This object is disposed.</exception>
    public async ValueTask<IDisposable?> TryTakeAsync(long first, long count, TimeSpan patience, CancellationToken cancellationToken)
    {
        for (long start = Environment.TickCount64; ;)
        {
            if (Interop.TryLockRange(_file, first, count, unlocks: false, out int error))
                return new Range(_file, first, count);
            if (error is not (Interop.TryAgain or Interop.NoAccess) || Environment.TickCount64 - start >= patience.TotalMilliseconds)
                return null;
            await Task.Delay(s_poll, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>True when the file was deleted: other processes lock ranges of its successor.</summary>
    public bool IsDeleted => FileIdentity.TryOf(_file) is { Names: 0 };

    /// <summary>Gives all ranges back.</summary>
    public void Dispose() => _file.Dispose();

    private sealed class Range(SafeFileHandle file, long first, long count) : IDisposable
    {
        public void Dispose()
        {
            try
            {
                Interop.TryLockRange(file, first, count, unlocks: true, out _);
            }
            catch (ObjectDisposedException)
            {
                // Closing the file has given it back.
            }
        }
    }
}
