using System.Text;
using LazyMount.Blobs.Registry.Accounts;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Cli;

/// <summary>
/// Credentials that the command line gives. They reach the mount daemon in memory that it inherits: the arguments and the environment of a process
/// that lives long can be seen by others.
/// </summary>
internal static class GivenCredentials
{
    /// <summary>Takes USER:PASS or USER.</summary>
    public const string Option = "--creds";

    /// <summary>Reads USER:PASS from standard input.</summary>
    public const string StandardInputOption = "--creds-stdin";

    // In bytes of UTF-8. A pipe takes as much without a reader.
    private const int MaxLength = 32 << 10;

    /// <summary>What the options say; null when neither is given.</summary>
    /// <param name="pair">USER:PASS or USER, of <c>--creds</c>.</param>
    /// <param name="fromStandardInput">Of <c>--creds-stdin</c>.</param>
    /// <exception cref="UsageException">They contradict each other, or hold no password.</exception>
    public static Credentials? Read(string? pair, bool fromStandardInput)
    {
        if (pair is not null && fromStandardInput)
        {
            throw new UsageException($"{Option} and {StandardInputOption} exclude each other");
        }
        if (fromStandardInput)
        {
            return ReadLine(Console.In);
        }
        if (pair is null)
        {
            return null;
        }
        if (Credentials.Parse(pair) is { } both)
        {
            return Check(both);
        }
        if (Console.IsInputRedirected)
        {
            throw new UsageException($"{Option} has no password, and standard input is not a terminal where it could be asked for: use {StandardInputOption}, or write USER:PASS");
        }
        return Check(new Credentials(pair, Ask($"Password of {pair}: ")));
    }

    /// <summary>USER:PASS in the first line of a text. Its end is a line feed, or a carriage return and a line feed.</summary>
    /// <exception cref="UsageException">There is none.</exception>
    internal static Credentials ReadLine(TextReader text)
    {
        var line = new StringBuilder();
        int c;
        while ((c = text.Read()) is >= 0 and not '\n')
        {
            if (line.Length > MaxLength)
            {
                throw TooLong();
            }
            line.Append((char)c);
        }
        string pair = line.ToString();
        pair = c == '\n' && pair.EndsWith('\r') ? pair[..^1] : pair;
        return Check(Credentials.Parse(pair)
            ?? throw new UsageException(pair.Length == 0 ? $"{StandardInputOption} found nothing in the first line of standard input: write USER:PASS into it" : $"{StandardInputOption} found no USER:PASS in the first line of standard input"));
    }

    /// <summary>Arguments without credentials.</summary>
    public static IEnumerable<string> Remove(IReadOnlyList<string> arguments)
    {
        int end = arguments.TakeWhile(argument => argument != "--").Count();
        return arguments.Where((_, at) => at >= end || !IsGiven(arguments, at));
    }

    // As the parser has it: a value stands behind = or :, or is the next argument.
    private static bool IsGiven(IReadOnlyList<string> arguments, int at)
        => arguments[at].Split('=', ':')[0] is Option or StandardInputOption
            || (at > 0 && arguments[at - 1] == Option);

    /// <summary>Credentials in memory that other processes can be given, for <see cref="Read(int)"/>.</summary>
    public static SafeFileHandle ToMemory(Credentials credentials)
        => Interop.MemoryFile("lazymount-credentials", Encoding.UTF8.GetBytes($"{credentials.UserName}:{credentials.Password}"));

    /// <summary>Reads them.</summary>
    public static Credentials? Read(int fileDescriptor)
    {
        using var memory = new SafeFileHandle(fileDescriptor, ownsHandle: true);
        byte[] bytes = new byte[RandomAccess.GetLength(memory)];
        return Credentials.Parse(Encoding.UTF8.GetString(bytes.AsSpan(0, RandomAccess.Read(memory, bytes, 0))));
    }

    private static Credentials Check(Credentials credentials)
        => credentials.UserName.Length == 0 ? throw new UsageException("credentials need a user name: write USER:PASS")
            : Encoding.UTF8.GetByteCount(credentials.UserName) + Encoding.UTF8.GetByteCount(credentials.Password) > MaxLength ? throw TooLong()
            : credentials;

    private static UsageException TooLong() => new($"credentials have more than {MaxLength >> 10} KiB; write USER:PASS");

    private static string Ask(string prompt)
    {
        Console.Error.Write(prompt);
        var password = new StringBuilder();
        while (true)
        {
            ConsoleKeyInfo key = Console.ReadKey(intercept: true);
            if (key.Key == ConsoleKey.Enter)
            {
                Console.Error.WriteLine();
                return password.ToString();
            }
            if (key.Key == ConsoleKey.Backspace)
            {
                password.Length = Math.Max(0, password.Length - 1);
            }
            else if (!char.IsControl(key.KeyChar))
            {
                password.Append(key.KeyChar);
            }
        }
    }
}
