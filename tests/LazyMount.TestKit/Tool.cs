using System.Diagnostics;

namespace LazyMount.TestKit;

/// <summary>A program that runs, its output being collected. Every wait is bounded: a hang fails a test, it does not stop the run.</summary>
public sealed class Tool : IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(120);
    private static readonly string[] s_defaultSignals = ["--default-signal=INT,QUIT,HUP,TERM"];
    private readonly Process _process;
    private readonly string _command;
    private readonly Task<byte[]> _output;
    private readonly Task<string> _error;

    private Tool(ProcessStartInfo start)
    {
        _command = string.Join(' ', start.ArgumentList.Skip(s_defaultSignals.Length));
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        _process = Process.Start(start)!;
        _process.StandardInput.Close();
        _output = ReadAll(_process.StandardOutput.BaseStream);
        _error = _process.StandardError.ReadToEndAsync();
    }

    public int ProcessId => _process.Id;

    public bool HasExited => _process.HasExited;

    public static Tool Start(string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string?>? environment = null)
    {
        // In the background of a script, and below nohup, signals are ignored, and children inherit that: a test that sends one
        // needs it to arrive.
        var start = new ProcessStartInfo("env", [.. s_defaultSignals, program]);
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
        foreach ((string name, string? value) in environment ?? new Dictionary<string, string?>())
        {
            start.Environment[name] = value;
        }
        return new Tool(start);
    }

    public static ToolResult Run(string program, params string[] arguments)
    {
        using Tool tool = Start(program, arguments);
        return tool.WaitForExit();
    }

    /// <summary>Runs a shell line, its parameters as $1, $2 …</summary>
    public static ToolResult Shell(string line, params string[] parameters) => Run("bash", ["-c", line, "bash", .. parameters]);

    public ToolResult WaitForExit(TimeSpan? limit = null)
    {
        if (!_process.WaitForExit(limit ?? s_limit))
        {
            _process.Kill();
            throw new TimeoutException($"{_command} has not ended after {limit ?? s_limit}");
        }
        // A child that goes on in the background must have let go of our pipes.
        if (!Task.WaitAll([_output, _error], TimeSpan.FromSeconds(10)))
        {
            throw new TimeoutException($"{_command} has ended, but something it started holds its standard output or error open");
        }
        return new ToolResult(_command, _process.ExitCode, _output.Result, _error.Result);
    }

    public void Signal(int signal) => _ = Interop.Kill(_process.Id, signal);

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }
        _process.Dispose();
    }

    private static async Task<byte[]> ReadAll(Stream stream)
    {
        var bytes = new MemoryStream();
        await stream.CopyToAsync(bytes);
        return bytes.ToArray();
    }
}
