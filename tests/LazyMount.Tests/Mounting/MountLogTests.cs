using LazyMount.Mounting;
using LazyMount.TestKit;
using Microsoft.Extensions.Logging;
using Xunit;

namespace LazyMount.Tests.Mounting;

/// <summary>What a daemon writes down: short, and not without end.</summary>
public sealed class MountLogTests : IDisposable
{
    private readonly ListedLines _lines = new();
    private readonly ManualTime _time = new();
    private readonly ConciseLogs _logs;
    private readonly ILogger _logger;

    public MountLogTests()
    {
        _logs = new ConciseLogs(_lines, withStacks: false, _time);
        _logger = _logs.CreateLogger("x");
    }

    public void Dispose() => _logs.Dispose();

    [Fact]
    public void Failure_IsOneLineWithoutItsException()
    {
        Fail("/a", "refused");
        Assert.Equal(["cannot read /a: refused"], _lines.Texts);
        Assert.Null(Assert.Single(_lines.Exceptions));
    }

    [Fact]
    public void WhenWanted_TheExceptionIsThere()
    {
        using var logs = new ConciseLogs(_lines, withStacks: true, _time);
        Fail("/a", "refused", logs.CreateLogger("x"));
        Assert.NotNull(Assert.Single(_lines.Exceptions));
    }

    [Fact]
    public void SameCause_IsCountedForAMinute_AndTheCountLogged()
    {
        for (int i = 0; i < 1000; i++)
        {
            Fail($"/{i}", "refused");
        }
        Fail("/other", "not found");
        Assert.Equal(["cannot read /0: refused", "cannot read /other: not found"], _lines.Texts);

        _time.Advance(ConciseLogs.Interval);
        Assert.Equal("cannot read /999: refused (the last of 999 more with this cause)", _lines.Texts[2]);
        _time.Advance(ConciseLogs.Interval);
        _time.Advance(ConciseLogs.Interval);
        Assert.Equal(3, _lines.Texts.Count);

        Fail("/again", "refused");
        Assert.Equal("cannot read /again: refused", _lines.Texts[3]);
    }

    [Fact]
    public void OutageOfADay_IsAboutALineAMinute()
    {
        for (int second = 0; second < 24 * 60 * 60; second += 5)
        {
            Fail($"/{second}", "refused");
            _time.Advance(TimeSpan.FromSeconds(5));
        }
        Assert.InRange(_lines.Texts.Count, 24 * 60 / 2, (24 * 60) + 2);
    }

    [Fact]
    public void ManyDifferentCauses_AreBoundedToo()
    {
        for (int i = 0; i < 100_000; i++)
        {
            Fail("/a", $"chunk {i} is damaged");
        }
        Assert.InRange(_lines.Texts.Count, 50, 200);
    }

    [Fact]
    public void Ending_LogsWhatWasCounted()
    {
        Fail("/a", "refused");
        Fail("/b", "refused");
        _logs.Dispose();
        Assert.Equal("cannot read /b: refused (the last of 1 more with this cause)", _lines.Texts[1]);
    }

    [Fact]
    public void Information_IsNeverCounted()
    {
        for (int i = 0; i < 3; i++)
        {
            _logger.Log(LogLevel.Information, new EventId(2), "same", null, (text, _) => text);
        }
        Assert.Equal(3, _lines.Texts.Count);
    }

    [Fact]
    public void OwnFile_KeepsTheLastLinesWithinItsLimit()
    {
        using var directory = new TemporaryDirectory();
        string path = directory["mount.log"];
        using (DaemonLog log = DaemonLog.Start(path, limit: 1000))
        {
            for (int i = 0; i < 500; i++)
            {
                log.Write(System.Text.Encoding.ASCII.GetBytes($"line {i:d4}\n"));
            }
        }
        string[] kept = [.. File.ReadLines(path + ".1"), .. File.ReadLines(path)];
        Assert.InRange(kept.Length, 100, 200);
        Assert.Equal(Enumerable.Range(500 - kept.Length, kept.Length).Select(i => $"line {i:d4}"), kept);
    }

    [Fact]
    public void FileOfTheUser_IsNotRotated()
    {
        using var directory = new TemporaryDirectory();
        string path = directory["mount.log"];
        File.WriteAllText(path, "before\n");
        using (DaemonLog log = DaemonLog.Append(path))
        {
            log.Write(new byte[(int)DaemonLog.DefaultLimit + 1]);
            log.Write("end\n"u8);
        }
        Assert.False(File.Exists(path + ".1"));
        Assert.Equal(7 + DaemonLog.DefaultLimit + 1 + 4, new FileInfo(path).Length);
    }

    private void Fail(string path, string reason, ILogger? logger = null)
        => (logger ?? _logger).Log(LogLevel.Error, new EventId(1), path, new InvalidOperationException("outer", new IOException(reason)), (path, cause) => $"cannot read {path}: {cause!.GetBaseException().Message}");

    private sealed class ListedLines : ILoggerFactory, ILogger
    {
        public List<string> Texts { get; } = [];
        public List<Exception?> Exceptions { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;
        public void AddProvider(ILoggerProvider provider) { }
        public void Dispose() { }
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Texts.Add(formatter(state, exception));
            Exceptions.Add(exception);
        }
    }

    private sealed class ManualTime : TimeProvider
    {
        private readonly List<ManualTimer> _timers = [];
        private TimeSpan _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now.Ticks;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = new ManualTimer(this, callback, state, _now + dueTime, period);
            _timers.Add(timer);
            return timer;
        }

        public void Advance(TimeSpan by)
        {
            _now += by;
            foreach (ManualTimer timer in _timers.ToArray())
            {
                timer.RunUntil(_now);
            }
        }

        private sealed class ManualTimer(ManualTime time, TimerCallback callback, object? state, TimeSpan next, TimeSpan period) : ITimer
        {
            private TimeSpan _next = next;

            public void RunUntil(TimeSpan now)
            {
                while (_next <= now && time._timers.Contains(this))
                {
                    _next += period;
                    callback(state);
                }
            }

            public bool Change(TimeSpan dueTime, TimeSpan period) => throw new NotSupportedException();
            public void Dispose() => time._timers.Remove(this);

            public ValueTask DisposeAsync()
            {
                Dispose();
                return ValueTask.CompletedTask;
            }
        }
    }
}
