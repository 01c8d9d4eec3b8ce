using System.Diagnostics;
using System.Text;

namespace LazyMount.Cli;

/// <summary>
/// Paths inside images are bytes, and arguments reach .NET as text. Bytes that are not UTF-8 become lone surrogates, U+DC80 to
/// U+DCFF, on the way here and bytes again on the way back, as Python has it (PEP 383).
/// </summary>
internal static class ImagePathText
{
    private const int Escape = 0xDC00;

    // For a process that is started with arguments that .NET cannot pass on: all of them, in hexadecimal digits.
    private const string Variable = "LAZYMOUNT_ARGUMENTS";

    /// <summary>Makes a process of this program that is about to be started get its arguments byte for byte.</summary>
    public static void PassTo(ProcessStartInfo start)
    {
        byte[] exact = Encode(string.Join('\0', start.ArgumentList) + '\0');
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

    public static string Decode(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder(bytes.Length);
        while (!bytes.IsEmpty)
        {
            bool isText = Rune.DecodeFromUtf8(bytes, out Rune rune, out int length) == System.Buffers.OperationStatus.Done;
            if (isText)
            {
                text.Append(rune.ToString());
            }
            for (int i = 0; i < length && !isText; i++)
            {
                text.Append((char)(Escape + bytes[i]));
            }
            bytes = bytes[length..];
        }
        return text.ToString();
    }

    public static byte[] Encode(string text)
    {
        var bytes = new List<byte>(text.Length);
        Span<byte> utf8 = stackalloc byte[4];
        for (int i = 0; i < text.Length; i++)
        {
            if (Rune.TryGetRuneAt(text, i, out Rune rune))
            {
                bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
                i += rune.Utf16SequenceLength - 1;
            }
            else
            {
                bytes.Add((byte)text[i]);
            }
        }
        return [.. bytes];
    }

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
