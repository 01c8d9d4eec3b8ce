namespace LazyMount.TestKit;

/// <summary>How a program ended and what it said.</summary>
public sealed record ToolResult(string Command, int ExitCode, byte[] OutputBytes, string Error)
{
    public string Output => System.Text.Encoding.UTF8.GetString(OutputBytes);

    public ToolResult EnsureSuccess() => ExitCode == 0 ? this
        : throw new InvalidOperationException($"{Command} exited with {ExitCode}:\n{Output}\n{Error}");
}
