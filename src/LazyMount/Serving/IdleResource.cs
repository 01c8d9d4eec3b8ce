namespace LazyMount.Serving;

/// <summary>
/// Something that is opened when it is first used, shared by all who use it at once, and closed when nobody has used it for a while. An
/// opening that failed is tried again by the next user. Thread-safe.
/// </summary>
/// <param name="open">Opens it. The token is cancelled when the server stops: a user who gives up does not end the opening for the others.</param>
/// <param name="idle">How long it stays open without a user.</param>
internal sealed class IdleResource<T>(Func<CancellationToken, Task<T>> open, TimeSpan idle) : IAsyncDisposable
    where T : class, IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _end = new();
    private Task<T>? _opened;
    private Timer? _timer;
    private int _users;

    /// <summary>It is open, or being opened.</summary>
    public bool IsOpen => _opened is not null;

    /// <summary>Opens it if it is not open. The lease must be disposed.</summary>
    public async Task<Lease> UseAsync(CancellationToken cancellationToken)
    {
        Task<T> opened;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_end.IsCancellationRequested, this);
            _users++;
            opened = _opened ??= Task.Run(() => open(_end.Token), CancellationToken.None);
        }
        try
        {
            return new Lease(this, await opened.WaitAsync(cancellationToken));
        }
        catch
        {
            lock (_gate)
            {
                if (_opened == opened && (opened.IsFaulted || opened.IsCanceled))
                {
                    _opened = null;
                }
            }
            Release();
            throw;
        }
    }

    private void Release()
    {
        lock (_gate)
        {
            if (--_users > 0 || _end.IsCancellationRequested)
            {
                return;
            }
            _timer ??= new Timer(_ => CloseIdle(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _timer.Change(idle, Timeout.InfiniteTimeSpan);
        }
    }

    private async void CloseIdle()
    {
        Task<T>? opened;
        lock (_gate)
        {
            if (_users > 0 || _opened is not { IsCompleted: true })
            {
                return;
            }
            (opened, _opened) = (_opened, null);
        }
        await CloseAsync(opened);
    }

    private static async Task CloseAsync(Task<T>? opened)
    {
        if (opened is { IsCompletedSuccessfully: true })
        {
            await opened.Result.DisposeAsync();
        }
    }

    /// <summary>Closes it, unless somebody still uses it: the process ends then.</summary>
    public async ValueTask DisposeAsync()
    {
        Task<T>? opened;
        lock (_gate)
        {
            _end.Cancel();
            _timer?.Dispose();
            (opened, _opened) = (_users == 0 ? _opened : null, null);
        }
        await CloseAsync(opened);
    }

    /// <summary>The right to use it until this is disposed.</summary>
    public sealed class Lease(IdleResource<T> owner, T value) : IDisposable
    {
        private int _isReleased;

        public T Value => value;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isReleased, 1) == 0)
            {
                owner.Release();
            }
        }
    }
}
