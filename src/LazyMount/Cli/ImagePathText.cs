using System.Diagnostics;
using System.Text;
using LazyMount.Blobs.Files;

namespace LazyMount.Cli;

/// <summary>Arguments of the program, which may name files, as text that keeps all bytes (<see cref="PathText"/>).</summary>
internal static class ImagePathText
{
    // For a process that is started with arguments that .NET cannot pass on: all of them, in hexadecimal digits.
    private const string Variable = "LAZYMOUNT_ARGUMENTS";

    /// <summary>Makes a process of this program that is about to be started get <paramref name="arguments"/> byte for byte.</summary>
    public static void PassTo(ProcessStartInfo start, IEnumerable<string> arguments)
    {
        byte[] exact = Encode(string.Join('\0', arguments) + '\0');
        if (!exact.AsSpan().SequenceEqual(Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(exact))))
        {
            start.Environment[Variable] = Convert.ToHexString(exact);
        }
    }

    /// <summary>The arguments as they were typed: .NET puts U+FFFD for what is not UTF-8.</summary>
    public static string[] Restore(string[] arguments)
    {
        if (Environment.GetEnvironmentVariable(Variable) is { } passed)
        {
            Environment.SetEnvironmentVariable(Variable, null);
            return [.. Split(Convert.FromHexString(passed))];
        }
        if (!Array.Exists(arguments, argument => argument.Contains('\uFFFD')))
        {
            return arguments;
        }
        try
        {
            string[] all = [.. Split(File.ReadAllBytes("/proc/self/cmdline"))];
            return all.Length > arguments.Length ? all[^arguments.Length..] : arguments;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return arguments;
        }
    }

    /// <inheritdoc cref="PathText.Decode"/>
    public static string Decode(ReadOnlySpan<byte> bytes) => PathText.Decode(bytes);

    /// <inheritdoc cref="PathText.Encode"/>
    public static byte[] Encode(string text) => PathText.Encode(text);

    private static List<string> Split(ReadOnlySpan<byte> commandLine)
    {
        var arguments = new List<string>();
        for (; commandLine.IndexOf((byte)0) is >= 0 and int end; commandLine = commandLine[(end + 1)..])
        {
            arguments.Add(Decode(commandLine[..end]));
        }
        return arguments;
    }
}
