using System.Diagnostics;
using System.Text;

namespace LazyMount.Node.Mounting;

/// <summary>Runs programs: lazymount itself, and those of the system that take paths which need not be text.</summary>
internal static class Helper
{
    private const int MostText = 16 << 10;

    /// <summary>Runs a program to its end. Killed when the token is cancelled.</summary>
    /// <param name="program">Its path, or a name in PATH.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="input">What it reads from standard input.</param>
    /// <param name="cancellationToken">Kills it.</param>
    /// <returns>Its exit code, its output, and what it wrote to standard error; the texts are cut where they are long.</returns>
    /// <exception cref="IOException">It cannot be started.</exception>
    public static async Task<(int ExitCode, string Output, string Error)> RunAsync(string program, IEnumerable<string> arguments, string? input, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new IOException($"cannot start '{program}': {e.Message}", e);
        }
        using (process)
        {
            try
            {
                try
                {
                    await process.StandardInput.WriteAsync(input.AsMemory(), cancellationToken);
                    process.StandardInput.Close();
                }
                catch (IOException)
                {
                    // It has ended, or does not read: its exit code tells.
                }
                Task<string> output = ReadAsync(process.StandardOutput, cancellationToken), error = ReadAsync(process.StandardError, cancellationToken);
                await process.WaitForExitAsync(cancellationToken);
                return (process.ExitCode, await output, await error);
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                throw;
            }
        }
    }

    private static async Task<string> ReadAsync(StreamReader reader, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        char[] buffer = new char[4096];
        while (await reader.ReadAsync(buffer, cancellationToken) is > 0 and int read)
        {
            text.Append(buffer, 0, Math.Min(read, MostText - text.Length));
        }
        return text.ToString();
    }
}
