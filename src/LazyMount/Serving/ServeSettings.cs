using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using LazyMount.Blobs.Files;
using LazyMount.Cli;

namespace LazyMount.Serving;

/// <summary>Where `serve` listens, and who may use it.</summary>
internal sealed class ServeSettings
{
    private const int MaxPassword = 4 << 10;
    private const string Form = "write PORT for this machine alone, or ADDRESS:PORT; port 0 takes a free one";

    public required IPEndPoint Listen { get; init; }

    /// <summary>Null: plain HTTP.</summary>
    public X509Certificate2? Certificate { get; init; }

    /// <summary>What has to be known to get in; null: nothing.</summary>
    public string? Password { get; init; }

    /// <summary>The password was made for this run, and the URL that is printed has it.</summary>
    public bool IsToken { get; init; }

    /// <summary>Names of this server besides its address.</summary>
    public IReadOnlyList<string> Hosts { get; init; } = [];

    /// <summary>A token that nobody guesses: 128 bits.</summary>
    public static string NewToken() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

    /// <summary>Reads <c>PORT</c> or <c>ADDRESS:PORT</c>.</summary>
    /// <exception cref="UsageException">It is something else.</exception>
    public static IPEndPoint ParseListen(string text) => ListenAddress.Parse("--listen", text, lowestPort: 0, Form);

    /// <summary>Reads a certificate with its key, in PEM.</summary>
    /// <exception cref="CommandException">There is none.</exception>
    public static X509Certificate2 ReadCertificate(string certificate, string key)
    {
        try
        {
            return X509Certificate2.CreateFromPemFile(PathText.FullPath(certificate), PathText.FullPath(key));
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new CommandException($"cannot use the certificate '{certificate}' with the key '{key}': {e.Message.TrimEnd('.')}; give both as PEM files", ExitCode.Failed, e);
        }
    }

    /// <summary>Reads a password: the first line of a file, or of standard input where none is named.</summary>
    /// <exception cref="CommandException">There is none.</exception>
    public static string ReadPassword(string? file)
    {
        string source = file is null ? "standard input" : $"'{file}'";
        try
        {
            using Stream stream = file is null ? Console.OpenStandardInput() : new FileStream(PathText.FullPath(file), FileMode.Open, FileAccess.Read);
            using var reader = new StreamReader(stream, Encoding.UTF8);
            var line = new StringBuilder();
            for (int c; (c = reader.Read()) is >= 0 and not '\n' && line.Length <= MaxPassword;)
            {
                line.Append((char)c);
            }
            string password = line.ToString().TrimEnd('\r');
            return password.Length == 0 ? throw new CommandException($"cannot read the password from {source}: its first line is empty; write the password there")
                : password.Length > MaxPassword ? throw new CommandException($"cannot read the password from {source}: its first line has more than {MaxPassword} characters; choose a shorter one")
                : password;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException($"cannot read the password from {source}: {e.Message.TrimEnd('.')}; check the file's name and its permissions", ExitCode.Failed, e);
        }
    }
}
