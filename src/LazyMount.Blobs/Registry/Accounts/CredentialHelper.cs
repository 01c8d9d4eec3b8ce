using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Oci;

namespace LazyMount.Blobs.Registry.Accounts;

/// <summary>
/// A credential helper program, docker-credential-NAME in PATH (github.com/docker/docker-credential-helpers: the server's URL on standard
/// input, JSON on standard output). What it writes may hold secrets: nothing of it is shown.
/// </summary>
internal static class CredentialHelper
{
    private const int MaxOutput = 1 << 20;

    /// <summary>A helper that asks its user, or a service that is away, must not hold an image up for ever.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    // A child of the helper may keep its standard output open after the helper has ended.
    private static readonly TimeSpan s_outputPatience = TimeSpan.FromMilliseconds(500);

    /// <summary>The server name that a helper is asked for: docker's name of the registry.</summary>
    /// <param name="registry">HOST[:PORT]; Docker Hub is "docker.io".</param>
    public static string ServerOf(string registry) => registry == DockerHub.Name ? "https://index.docker.io/v1/" : registry;

    /// <summary>Asks a helper. Null: it has nothing for this registry.</summary>
    /// <param name="name">What stands behind "docker-credential-".</param>
    /// <param name="server">As it was stored: see <see cref="ServerOf"/>.</param>
    /// <param name="cancellationToken">Ends the helper.</param>
    /// <exception cref="InvalidDataException">It failed; says how in a clause, such as "is not in PATH".</exception>
    public static async Task<Credentials?> GetAsync(string name, string server, CancellationToken cancellationToken)
    {
        if (name.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.')))
            throw new InvalidDataException("is not the name of a program");
        string program = FindInPath($"docker-credential-{name}") ?? throw new InvalidDataException("is not in PATH");
        var start = new ProcessStartInfo(program, ["get"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        Process helper;
        try
        {
            helper = Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new InvalidDataException($"cannot be started (error {e.NativeErrorCode})", e);
        }
        using (helper)
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(s_patience);
            try
            {
                return await AskAsync(helper, name, server, patience.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new InvalidDataException($"did not answer within {s_patience.TotalSeconds:0} s");
            }
            finally
            {
                Kill(helper);
            }
        }
    }

    // Absolute directories alone: .NET would also start a program of that name from the current directory, which may be anybody's.
    private static string? FindInPath(string program)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Where(Path.IsPathFullyQualified)
            .Select(directory => Path.Combine(directory, program)).FirstOrDefault(IsExecutable);

    private static bool IsExecutable(string path)
        => OperatingSystem.IsWindows() ? File.Exists(path) : FileIdentity.TryOf(path) is { Kind: FileKind.Regular } file && (file.Mode & 0x49) != 0; // 0111

    private static async Task<Credentials?> AskAsync(Process helper, string name, string server, CancellationToken cancellationToken)
    {
        using var reading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using Stream output = helper.StandardOutput.BaseStream, errors = helper.StandardError.BaseStream;
        using MemoryStream read = new(), unused = new();
        Task reads = ReadAsync(output, read, reading.Token);
        Task drains = ReadAsync(errors, unused, reading.Token); // so that it never waits for a reader
        try
        {
            try
            {
                await helper.StandardInput.WriteAsync(server).ConfigureAwait(false);
                helper.StandardInput.Close();
            }
            catch (IOException)
            {
                // It has ended without reading.
            }
            Task ended = helper.WaitForExitAsync(cancellationToken);
            if (await Task.WhenAny(ended, reads).ConfigureAwait(false) == reads && reads.IsFaulted)
                await reads.ConfigureAwait(false); // it waits for a reader that has enough
            await ended.ConfigureAwait(false);
            // What it wrote is in the pipe. The pipe's end is not waited for long: a child may keep it open.
            bool isWhole = await Task.WhenAny(reads, Task.Delay(s_outputPatience, cancellationToken)).ConfigureAwait(false) == reads;
            if (isWhole)
                await reads.ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            byte[] answer;
            lock (read)
                answer = read.ToArray();
            return Understand(answer, isWhole, helper.ExitCode, name, server);
        }
        finally
        {
            await reading.CancelAsync().ConfigureAwait(false);
            _ = Task.WhenAll(reads, drains).ContinueWith(static task => _ = task.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }

    private static Credentials? Understand(byte[] answer, bool isWhole, int exitCode, string name, string server)
    {
        if (exitCode != 0)
        {
            return answer.AsSpan().IndexOf("credentials not found"u8) >= 0 ? null
                : throw new InvalidDataException($"failed with exit code {exitCode}; run it by hand to see why: echo {server} | docker-credential-{name} get");
        }
        HelperJson json;
        try
        {
            json = GoJsonReader.Read(answer, HelperJson.Form.Read);
        }
        catch (JsonException)
        {
            throw new InvalidDataException(isWhole ? "does not answer with JSON" : "left its output open to another program"); // without the cause: it may quote a secret
        }
        return json switch
        {
            { Username: "", Secret: "" } => null,
            { Username: "<token>" } => new Credentials("", "", Credentials.IsToken(json.Secret) ? json.Secret
                : throw new InvalidDataException("answers with a token that has spaces, line ends or other characters that no token has")),
            _ => new Credentials(json.Username, json.Secret),
        };
    }

    private static async Task ReadAsync(Stream stream, MemoryStream into, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[4096];
        for (int length; (length = await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0;)
        {
            lock (into)
            {
                if (into.Length + length > MaxOutput)
                    throw new InvalidDataException($"writes more than {MaxOutput >> 20} MiB");
                into.Write(buffer, 0, length);
            }
        }
    }

    private static void Kill(Process helper)
    {
        try
        {
            if (!helper.HasExited)
                helper.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception or AggregateException)
        {
            // It has ended.
        }
    }
}

/// <summary>A credential helper's answer.</summary>
internal sealed class HelperJson
{
    public static GoStruct<HelperJson> Form { get; } = new(
        ("Username", (ref json, to) => to.Username = json.ReadString()),
        ("Secret", (ref json, to) => to.Secret = json.ReadString()));

    public string Username { get; private set; } = "";

    public string Secret { get; private set; } = "";
}
