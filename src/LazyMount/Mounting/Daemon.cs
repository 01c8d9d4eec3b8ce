using System.Diagnostics;
using System.Globalization;
using System.IO.Pipes;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Keeping;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// A mount that goes on in the background. .NET cannot fork, so the first process starts a second one of itself, the keeper, and that the worker,
/// which does all the work, still on the terminal; when the tree answers, both leave the terminal, the worker says so through a
/// pipe, and the first process ends. A pipe that closes without that word means failure: the exit code is the worker's.
/// </summary>
internal static class Daemon
{
    private const byte Ready = (byte)'R';

    // The directory that relative paths are relative to, in hexadecimal digits.
    private const string StartDirectoryVariable = "LAZYMOUNT_DIRECTORY";

    /// <summary>
    /// For a process that lives long and does little. The collector's first budget is the size of the CPU's cache, 25 MB
    /// that would fill with garbage once; and malloc keeps freed spans for each thread unless they are mapped one by one.
    /// Together they took the peak after reading 1.1 GB, with 64 MiB of spans, from 182 to 153 MB. Neither can be set later.
    /// </summary>
    private static readonly (string Name, string Value)[] s_memorySettings =
    [
        ("DOTNET_GCgen0size", "0x400000"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1048576"),
    ];

    // Variables that hold a path. The daemon, and the programs that it starts, look at them after it has left the directory they start from.
    private static readonly string[] s_pathVariables =
        ["HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF", "SSL_CERT_FILE"];

    /// <summary>The first process's part: returns when the mount is ready (0) or has failed.</summary>
    /// <param name="host">Its arguments are given to the keeper, and by it to the worker.</param>
    /// <param name="target">The directory to mount on; the worker inherits it, with its lock.</param>
    /// <param name="credentials">What the command line gave, or null.</param>
    /// <param name="logFile">For messages.</param>
    public static async Task<int> StartAsync(CommandHost host, MountDirectory target, Credentials? credentials, string logFile)
    {
        // A daemon outlives whoever gave us these, and may be waited for by whoever reads them.
        Interop.CloseInheritedOnExec();
        await using var pipe = new AnonymousPipeServerStream(PipeDirection.In, HandleInheritability.Inheritable);
        using SafeFileHandle? secrets = credentials is null ? null : GivenCredentials.ToMemory(credentials);
        (string program, string[] assembly, string[] arguments) = CommandLineOf(host, target, secrets, ServeCommand.ReadyOption, pipe.GetClientHandleAsString());
        var start = new ProcessStartInfo(program, [.. assembly, .. arguments]);
        SetEnvironment(start.Environment);
        ImagePathText.PassTo(start, arguments);
        using var daemon = Process.Start(start)
            ?? throw new CommandException($"cannot start the mount daemon '{program}'");
        pipe.DisposeLocalCopyOfClientHandle();

        // Ctrl-C reaches both, being in one process group; kill(1) reaches only the one it names.
        await using CancellationTokenRegistration forward = (host.Signals?.Token ?? default).Register(() => Interop.Kill(daemon.Id, host.Signals!.Number));
        byte[] word = new byte[1];
        if (await pipe.ReadAsync(word) == 1 && word[0] == Ready)
        {
            return ExitCode.Done;
        }

        await daemon.WaitForExitAsync();
        return daemon.ExitCode switch
        {
            ExitCode.Done => throw new CommandException($"cannot mount: the mount daemon ended before the mount was ready; see its log '{logFile}'"),
            > 128 and int code when code != ExitCode.OfSignal(host.Signals?.Number ?? 0)
                => throw new CommandException($"cannot mount: the mount daemon was killed by signal {code - 128} before the mount was ready; see its log '{logFile}'"),
            int code => code,
        };
    }

    /// <summary>Becomes the keeper of a mount in front; returns only when that fails.</summary>
    /// <param name="host">Its arguments are the worker's.</param>
    /// <param name="target">The directory to mount on; the worker inherits it, with its lock.</param>
    /// <param name="credentials">What the command line gave, or null.</param>
    public static int Become(CommandHost host, MountDirectory target, Credentials? credentials)
    {
        Interop.CloseInheritedOnExec();
        using SafeFileHandle? secrets = credentials is null ? null : GivenCredentials.ToMemory(credentials);
        (string program, string[] assembly, string[] arguments) = CommandLineOf(host, target, secrets, ServeCommand.ForegroundOption);
        IDictionary<string, string?> environment = new ProcessStartInfo().Environment;
        SetEnvironment(environment);
        int errno = Interop.Execute(program, [program, .. assembly, .. arguments], [.. environment.Select(variable => $"{variable.Key}={variable.Value}")]);
        throw new CommandException($"cannot start the mount daemon '{program}': {Marshal.GetPInvokeErrorMessage(errno)}");
    }

    private static (string Program, string[] Assembly, string[] Arguments) CommandLineOf(CommandHost host, MountDirectory target, SafeFileHandle? secrets, params string[] how)
    {
        Interop.Inherit(target.Handle);
        if (secrets is not null)
        {
            Interop.Inherit(secrets);
        }
        // /proc/self/exe is right even after the file was replaced, but ps would show that name.
        string program = Environment.ProcessPath is { } path && File.Exists(path) ? path : "/proc/self/exe";
        return (program, AssemblyToRun(Environment.ProcessPath), [
            ServeCommand.Name, Keeper.Name, .. how,
            ServeCommand.DirectoryOption, target.Handle.DangerousGetHandle().ToString(CultureInfo.InvariantCulture),
            .. secrets is null ? (string[])[] : [ServeCommand.CredentialsOption, secrets.DangerousGetHandle().ToString(CultureInfo.InvariantCulture)],
            .. GivenCredentials.Remove(host.Arguments)]);
    }

    /// <summary>What dotnet must be given before our arguments, when it is the program: <c>dotnet lazymount.dll</c>, as local tools are run.</summary>
    internal static string[] AssemblyToRun(string? program)
        => RuntimeFeature.IsDynamicCodeSupported && Path.GetFileName(program) == "dotnet"
            ? [Path.Combine(AppContext.BaseDirectory, typeof(Daemon).Assembly.GetName().Name + ".dll")] : [];

    /// <summary>Makes of this process's environment the daemon's.</summary>
    internal static void SetEnvironment(IDictionary<string, string?> environment)
    {
        environment[StartDirectoryVariable] = Convert.ToHexString(ImagePathText.Encode(PathText.CurrentDirectory()));
        foreach ((string name, string value) in s_memorySettings)
        {
            environment.TryAdd(name, value);
        }
        foreach (string name in s_pathVariables)
        {
            if (environment.TryGetValue(name, out string? path) && !string.IsNullOrEmpty(path) && !Path.IsPathRooted(path))
            {
                environment[name] = PathText.FullPath(path);
            }
        }
    }

    /// <summary>What relative paths are relative to in this process, if it is a keeper's.</summary>
    public static void TakeStartDirectory()
    {
        if (Environment.GetEnvironmentVariable(StartDirectoryVariable) is { Length: > 0 } directory)
        {
            PathText.StartDirectory = ImagePathText.Decode(Convert.FromHexString(directory));
            Environment.SetEnvironmentVariable(StartDirectoryVariable, null);
        }
    }

    /// <summary>
    /// The worker's part, once the tree answers: nothing may be left that a closing terminal, a shell waiting
    /// for the end of our output, or an unmount of the current directory would trip over.
    /// </summary>
    public static void Detach(int readyFileDescriptor, DaemonLog log)
    {
        using var pipe = new AnonymousPipeClientStream(PipeDirection.Out, readyFileDescriptor.ToString(CultureInfo.InvariantCulture));
        Interop.StartSession();
        Environment.CurrentDirectory = "/";
        using (SafeFileHandle nowhere = File.OpenHandle("/dev/null"))
        {
            Interop.Redirect(Interop.StandardInput, nowhere);
        }
        log.TakeStandardOutput();
        try
        {
            pipe.WriteByte(Ready);
        }
        catch (IOException)
        {
            // Nobody waits any more, but the mount was asked for and is there.
        }
    }
}
