using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using LazyMount.Blobs.Images;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Metrics;

namespace LazyMount.Mounting;

/// <summary>
/// <c>mount.lazymount IMAGE DIR -o OPTIONS</c>, which mount(8) starts for <c>mount -t lazymount</c> and for lines of fstab(5): this program by
/// another name. It turns what mount(8) passes into a command line of <c>lazymount mount</c>.
/// </summary>
internal static class MountHelper
{
    /// <summary>Its name, also as a first word of the program's arguments.</summary>
    public const string Name = "mount.lazymount";

    /// <summary>Its name for the type that the mount table shows.</summary>
    public const string TypeName = "mount.fuse.lazymount";

    // What mount(8) answers with.
    private const int WrongUse = 1, MountFailed = 32;

    /// <summary>Generic words that mean nothing to a mount of an image, or are dealt with by whoever reads fstab.</summary>
    private static readonly HashSet<string> s_ignored =
    [
        "rw", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "atime", "noatime", "diratime", "nodiratime", "relatime",
        "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "sync", "async", "dirsync", "mand", "nomand", "iversion", "noiversion", "silent", "loud", "comment",
    ];

    // Options of `lazymount mount` that are no mount options: fstab can be read by everybody, and mount(8) must return.
    private static readonly HashSet<string> s_excluded =
        ["--options", "--foreground", "--fake", "--help", "-h", "--version", GivenCredentials.Option, GivenCredentials.StandardInputOption];

    /// <summary>Whether the program was started as the helper.</summary>
    /// <param name="program">The name that it was started by.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="given">The arguments of the helper.</param>
    public static bool IsCalled(string? program, string[] arguments, out string[] given)
    {
        given = arguments;
        if (arguments is [Name, ..])
        {
            given = arguments[1..];
            return true;
        }
        // A copy of the program with this name starts its worker by this name.
        return Path.GetFileName(program) is Name or TypeName && arguments is not [ServeCommand.Name, ServingProcess.ForOption, ..];
    }

    /// <summary>Runs the helper; returns the exit code, one of mount(8)'s.</summary>
    public static async Task<int> RunAsync(CommandHost host)
    {
        try
        {
            Call call = Parse(host.Arguments);
            if (call.Namespace is { } space)
            {
                return await EnterAsync(space, host.Arguments);
            }
            string[] arguments = Translate(call, host, out MountOptions options, out bool isRemount);
            if (!call.IsFake && MountPoint.At(call.Directory) is { } there && there.Shows(ImageArgument.Parse(call.Image).ToAbsolute().ToString()) && !there.IsDead())
            {
                if (isRemount)
                {
                    there.SetFlags(options.ToFuse(there.Source));
                }
                return ExitCode.Done; // `mount -a` a second time
            }
            if (isRemount && !call.IsFake)
            {
                throw new CommandException($"cannot remount '{call.Directory}': the image '{call.Image}' is not mounted there; leave out remount");
            }
            return ToMountCode(await CommandLine.RunAsync(host.With(arguments)));
        }
#pragma warning disable CA1031 // As CommandLine does.
        catch (Exception e)
#pragma warning restore CA1031
        {
            host.Error.WriteLine(Failure.Describe(e, verbose: false));
            return ToMountCode(Failure.ExitCodeOf(e));
        }
    }

    /// <summary>The command line of `lazymount mount` for a call of the helper.</summary>
    /// <exception cref="UsageException">A word is wrong.</exception>
    internal static string[] Translate(IReadOnlyList<string> given, CommandHost host) => Translate(Parse(given), host, out _, out _);

    private static int ToMountCode(int exitCode) => exitCode switch
    {
        ExitCode.Done => ExitCode.Done,
        ExitCode.Usage => WrongUse,
        _ when ExitCode.SignalOf(exitCode) is not null => exitCode,
        _ => MountFailed,
    };

    private sealed record Call(string Image, string Directory, IReadOnlyList<string> Words, bool IsFake, bool IsSloppy, bool IsVerbose, string? Namespace);

    // IMAGE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE], in any order.
    private static Call Parse(IReadOnlyList<string> given)
    {
        var call = new Call("", "", [], false, false, false, null);
        var places = new List<string>();
        for (int i = 0; i < given.Count; i++)
        {
            if (given[i] is not ['-', _, ..])
            {
                places.Add(given[i]);
                continue;
            }
            string flags = given[i];
            for (int at = 1; at < flags.Length; at++)
            {
                char flag = flags[at];
                string? value = null;
                if (flag is 'o' or 't' or 'N')
                {
                    value = at + 1 < flags.Length ? flags[(at + 1)..] : ++i < given.Count ? given[i] : throw new UsageException($"option '-{flag}' needs a value; see 'lazymount help fstab'");
                    at = flags.Length;
                }
                call = flag switch
                {
                    'o' => call with { Words = [.. call.Words, .. MountOptions.Split(value!)] },
                    'N' => call with { Namespace = value },
                    'f' => call with { IsFake = true },
                    's' => call with { IsSloppy = true },
                    'v' => call with { IsVerbose = true },
                    'n' or 't' => call, // there is no mtab, and one type
                    _ => throw new UsageException($"unknown option '{flags}'; see 'lazymount help fstab'"),
                };
            }
        }
        return places is [var image, var directory]
            ? call with { Image = image, Directory = directory }
            : throw new UsageException($"{Name} needs an image and a directory; see 'lazymount help fstab'");
    }

    private static string[] Translate(Call call, CommandHost host, out MountOptions mountOptions, out bool isRemount)
    {
        Option[] options = [.. UsageErrors.OptionsOf(CommandLine.Create(host).Subcommands.Single(command => command.Name == "mount"))];
        List<string> arguments = ["mount"], own = [];
        isRemount = false;
        foreach (string word in call.Words)
        {
            (string name, string? value) = MountOptions.Cut(word);
            if (s_ignored.Contains(name) || name.StartsWith("x-", StringComparison.OrdinalIgnoreCase))
            {
                continue;
            }
            if (name == "remount")
            {
                isRemount = true;
            }
            else if (MountOptions.Words.Any(each => each.Name == name))
            {
                own.Add(value?.Contains(',', StringComparison.Ordinal) == true ? $"{name}=\"{value}\"" : word);
            }
            else if (Array.Find(options, option => option.Name == "--" + name && !s_excluded.Contains(option.Name)) is { } option)
            {
                arguments.Add(ArgumentFor(option, word, value));
            }
            else if (!call.IsSloppy)
            {
                throw new UsageException($"cannot use the mount option '{word}': it is unknown; see 'lazymount help fstab'");
            }
        }
        mountOptions = MountOptions.Parse(own, Environment.IsPrivilegedProcess);
        if (call.IsFake)
        {
            arguments.Add("--fake");
        }
        if (call.IsVerbose)
        {
            arguments.Add("--verbose");
        }
        if (own.Count > 0)
        {
            arguments.AddRange(["--options", string.Join(',', own)]);
        }
        ImageReference reference = ImageArgument.Parse(call.Image);
        return reference.Transport != Transport.Registry && !Path.IsPathRooted(reference.Location)
            ? throw new UsageException($"cannot mount '{call.Image}': the path is relative, and mount(8) may run in any directory; write {reference.ToAbsolute()}")
            : [.. arguments, "--", call.Image, call.Directory];
    }

    private static string ArgumentFor(Option option, string word, string? value)
    {
        bool isFlag = option.Arity.MaximumNumberOfValues == 0;
        if (isFlag != value is null)
        {
            throw new UsageException($"cannot use the mount option '{word}': it {(isFlag ? "takes no" : "needs a")} value; write {option.Name[2..]}{(isFlag ? "" : "=" + option.HelpName)}");
        }
        string? path = option.HelpName is "DIR" or "FILE" ? value : option.Name == MountArguments.MetricsOption && MetricsAddress.IsPath(value!, out string socket) ? socket : null;
        return path is not null && !Path.IsPathRooted(path)
            ? throw new UsageException($"cannot use the mount option '{word}': the path is relative, and mount(8) may run in any directory; write an absolute path")
            : isFlag ? option.Name : $"{option.Name}={value}";
    }

    // `mount -N`: mount(8) leaves it to its helper to go there. A process with threads cannot (setns(2)).
    private static async Task<int> EnterAsync(string space, IReadOnlyList<string> given)
    {
        const string Usual = "/usr/bin/nsenter"; // mount(8) need not leave a PATH
        string program = $"/proc/{Environment.ProcessId}/exe";
        List<string> arguments = [.. Daemon.AssemblyToRun(Environment.ProcessPath), Name, .. given];
        if (arguments.IndexOf("-N") is >= 0 and int at)
        {
            arguments.RemoveRange(at, 2);
        }
        else
        {
            arguments.RemoveAll(argument => argument.StartsWith("-N", StringComparison.Ordinal));
        }
        try
        {
            using Process process = Process.Start(File.Exists(Usual) ? Usual : "nsenter", ["--mount=" + space, "--", program, .. arguments]);
            await process.WaitForExitAsync();
            return process.ExitCode;
        }
        catch (Win32Exception e)
        {
            throw new CommandException("cannot run nsenter, which -N needs: it is not installed; install it with apt install util-linux", inner: e);
        }
    }
}
