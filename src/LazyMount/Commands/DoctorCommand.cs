using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using LazyMount.Blobs.Cache;
using LazyMount.Blobs.Files;
using LazyMount.Blobs.Images;
using LazyMount.Blobs.Registry;
using LazyMount.Blobs.Registry.Accounts;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Mounting;
using LazyMount.Output;

namespace LazyMount.Commands;

/// <summary>`lazymount doctor`: what this machine has of what mounts and registries need, and how to get what is missing.</summary>
internal static class DoctorCommand
{
    private const string Ok = "ok", Note = "note", Missing = "missing";

    public static Command Create(CommandHost host)
    {
        var json = JsonOption.Document(() => ListingJson.Default.IReadOnlyListCheckListing);
        var verb = new Verb("doctor", "Check what this machine has of what lazymount needs. Nothing is fetched, mounted or changed. Credentials are counted and never shown. Exits with 1 if something is missing.",
            """
            lazymount doctor
            lazymount doctor --json | jq -r '.[] | select(.status != "ok") | .mend'
            """)
        { json };
        verb.Run(host, async (parsed, settings, cancellationToken) =>
        {
            IReadOnlyList<CheckListing> checks = await CheckAsync(settings, cancellationToken);
            if (parsed.GetValue(json))
            {
                host.Output.WriteDocument(checks, ListingJson.Default.IReadOnlyListCheckListing);
            }
            else
            {
                Write(host.Output, checks);
            }
            return checks.Any(check => check.Status == Missing) ? ExitCode.Failed : ExitCode.Done;
        });
        return verb;
    }

    private static void Write(CommandOutput output, IReadOnlyList<CheckListing> checks)
    {
        int width = checks.Max(check => check.Check.Length);
        foreach (CheckListing check in checks)
        {
            output.WriteLine($"{check.Status,-7}  {check.Check.PadRight(width)}  {CommandOutput.Displayable(check.Detail)}{(check.Mend is { } mend ? $"; {CommandOutput.Displayable(mend)}" : "")}");
        }
    }

    private static async Task<IReadOnlyList<CheckListing>> CheckAsync(CommandSettings settings, CancellationToken cancellationToken)
    {
        List<CheckListing> checks = [];
        bool isRoot = Environment.IsPrivilegedProcess;
        Add("program", Ok, $"lazymount {CommandLine.Version}, {Environment.ProcessPath}");
        Add("kernel", Ok, $"Linux {Environment.OSVersion.Version} ({RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()})");
        string? noDevice = FuseSupport.WhyNoDevice();
        Add("fuse", noDevice is null ? Ok : Missing, noDevice ?? "/dev/fuse can be opened");
        Add("namespace", Ok, InitialUserNamespace() ? $"{(isRoot ? "root" : "a user")} in the initial user namespace" : $"{(isRoot ? "root" : "a user")} in a user namespace of its own");
        if (!isRoot)
        {
            string? fusermount = FuseSupport.FindFusermount();
            Add("fusermount3", fusermount is null ? Missing : Ok, fusermount ?? "not in PATH; users other than root need it to mount", fusermount is null ? "install the package fuse3" : null);
            bool mayAllowOther = FuseConfiguration().Any(line => line.Trim() == "user_allow_other");
            Add("allow_other", mayAllowOther ? Ok : Note, mayAllowOther ? "user_allow_other is set in /etc/fuse.conf" : "mount -o allow_other is refused", mayAllowOther ? null : "to permit it, add the line user_allow_other to /etc/fuse.conf");
        }
        Add("erofs", ErofsFace.WhyNot() is null ? Ok : Note, ErofsFace.WhyNot() is { } reason ? $"mounts use FUSE, because {reason}" : "mounts use the kernel's EROFS");
        AddDirectory("cache", settings.CacheDirectory, isPrivate: false, "choose another directory with --cache-dir");
        if (checks[^1].Status == Ok)
        {
            CacheUsage usage = settings.OpenCache().Measure();
            checks[^1] = checks[^1] with { Detail = $"{checks[^1].Detail}, {ByteSize.Format(usage.Bytes)} of {ByteSize.Format(usage.Limit)} used" };
        }
        AddDirectory("state", StateDirectory.Open().Root, isPrivate: true, "choose another directory with $LAZYMOUNT_STATE");
        IReadOnlyList<AccountPlace> accounts = await AccountSurvey.TakeAsync(settings.Registries, cancellationToken);
        foreach (AccountPlace place in accounts)
        {
            string found = $"{place.Name}: {Count(place.Registries.Count, "registry", "registries")}{(place.Registries.Count > 0 ? $" ({string.Join(", ", place.Registries.Select(Printable.Of))})" : "")}{string.Concat(place.Helpers.Select(helper => $", helper docker-credential-{Printable.Of(helper)}"))}";
            Add("credentials", place.Problem is null ? Ok : Note, place.Problem is null ? found : $"{place.Name}: {place.Problem}", place.Problem is null ? null : "correct the file, or log in again");
        }
        if (accounts.Count == 0)
        {
            Add("credentials", Ok, "none; public images need none");
        }
        try
        {
            IReadOnlyList<string> proxies = RegistryProxies.Describe(settings.Registries);
            Add("proxy", Ok, proxies.Count == 0 ? "none" : string.Join(", ", proxies));
        }
        catch (ImageException e)
        {
            Add("proxy", Missing, e.Message);
        }
        return checks;

        void Add(string name, string status, string detail, string? mend = null) => checks.Add(new CheckListing { Check = name, Status = status, Detail = detail, Mend = mend });

        void AddDirectory(string name, string path, bool isPrivate, string otherwise)
        {
            try
            {
                // What is not there yet is judged by the directory that it will be made in.
                string there = path;
                while (!Path.Exists(there) && Path.GetDirectoryName(there) is { } above)
                {
                    there = above;
                }
                string? problem = there == path ? OwnedDirectory.Ensure(path, otherwise, isPrivate) : null;
                bool mayWrite = OwnedDirectory.MayWrite(there);
                string free = ByteSize.Format(new DriveInfo(there).AvailableFreeSpace);
                Add(name, problem is null && mayWrite ? Ok : Missing,
                    problem is not null ? $"cannot use '{path}': {problem}" : mayWrite ? $"{path}{(there == path ? "" : " (made when needed)")}, {free} free" : $"cannot write to '{there}'", problem is null && !mayWrite ? otherwise : null);
            }
            catch (Exception e) when (FileProblem.IsOne(e))
            {
                Add(name, Missing, $"cannot use '{path}': {FileProblem.Reason(e)}", otherwise);
            }
        }
    }

    private static string Count(int number, string one, string many) => $"{number.ToString(CultureInfo.InvariantCulture)} {(number == 1 ? one : many)}";

    // The initial one maps all numbers to themselves (user_namespaces(7)).
    private static bool InitialUserNamespace()
    {
        try
        {
            return File.ReadAllText("/proc/self/uid_map").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is ["0", "0", "4294967295"];
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return false;
        }
    }

    private static string[] FuseConfiguration()
    {
        try
        {
            return File.ReadAllLines("/etc/fuse.conf");
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            return [];
        }
    }
}
