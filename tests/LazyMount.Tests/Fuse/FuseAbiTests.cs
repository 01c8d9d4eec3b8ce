using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LazyMount.Fuse.Protocol;
using LazyMount.TestKit;
using Xunit;
using FuseInterop = LazyMount.Fuse.Interop;

namespace LazyMount.Tests.Fuse;

/// <summary>Our declarations against the C compiler's view of &lt;linux/fuse.h&gt;, both ways.</summary>
public sealed class FuseAbiTests
{
    /// <summary>What only later headers have, with the protocol version that brought it.</summary>
    private static readonly Dictionary<string, int> s_since = new()
    {
        ["offsetof fuse_in_header total_extlen"] = 38,
        ["value STATX"] = 39,
        ["value HASRESEND"] = 40,
        ["value NOTIFYRESEND"] = 40,
        ["offsetof fuse_init_out max_stack_depth"] = 40,
        ["offsetof fuse_open_out backing_id"] = 40,
        ["value ALLOWIDMAP"] = 41,
        ["offsetof fuse_init_out request_timeout"] = 43,
        ["value NOTIFYINCEPOCH"] = 44,
    };

    [Fact]
    public void EverySizeOffsetAndValue_IsTheKernels()
    {
        Dictionary<string, long> theirs = RunProbe();
        Dictionary<string, long> ours = Declared();
        long minor = theirs["value KERNELMINORVERSION"];
        Assert.True(ours.Count > 150, "reflection found our declarations");

        foreach ((string fact, long number) in ours)
        {
            if (theirs.TryGetValue(fact, out long expected))
            {
                Assert.True(expected == number, $"{fact}: ours {number}, the kernel's {expected}");
            }
            else
            {
                Assert.True(s_since.TryGetValue(fact, out int since) && minor < since, $"{fact} is not in the probe");
            }
        }
        Assert.Empty(theirs.Keys.Except(ours.Keys).Except(["value KERNELMINORVERSION"]));
    }

    /// <summary>"sizeof s", "offsetof s f" and "value V" of all that Protocol/ declares.</summary>
    private static Dictionary<string, long> Declared()
    {
        var facts = new Dictionary<string, long>
        {
            ["value KERNELVERSION"] = Negotiation.Major,
            ["value DEVIOCCLONE"] = (long)FuseInterop.FUSE_DEV_IOC_CLONE,
        };
        foreach (Type type in typeof(FuseRequest).Assembly.GetTypes().Where(type => type.Name.StartsWith("fuse_", StringComparison.Ordinal)))
        {
            facts.Add($"sizeof {type.Name}", SizeOf(type));
            foreach (FieldInfo field in type.GetFields().Where(field => !s_fillers.Contains(field.Name)))
            {
                facts.Add($"offsetof {type.Name} {field.Name}", Marshal.OffsetOf(type, field.Name));
            }
        }
        AddValues<FuseOpcode>(facts);
        AddValues<InitFlags>(facts);
        AddValues<OpenReplyFlags>(facts);
        AddValues<FuseNotifyCode>(facts);
        return facts;
    }

    private static readonly string[] s_fillers = ["padding", "unused", "spare", "dummy"];

    private static long SizeOf(Type type)
        => (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    private static void AddValues<T>(Dictionary<string, long> facts) where T : struct, Enum
    {
        foreach (T value in Enum.GetValues<T>())
        {
            if (value.ToString() != "None")
            {
                facts.Add("value " + value.ToString().ToUpperInvariant(), Convert.ToInt64(value, CultureInfo.InvariantCulture));
            }
        }
    }

    private static Dictionary<string, long> RunProbe()
    {
        string binary = Path.Combine(Directory.CreateTempSubdirectory("fuse-abi-").FullName, "probe");
        try
        {
            Run("cc", "-Wall", "-Werror", "-o", binary, Path.Combine(RepositoryRoot.Path, "native", "fuse_abi_probe.c"));
            return Run(binary).Split('\n', StringSplitOptions.RemoveEmptyEntries).ToDictionary(
                line => Normalize(line[..line.LastIndexOf(' ')]),
                line => long.Parse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture));
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(binary)!, recursive: true);
        }
    }

    /// <summary>The kernel's FUSE_READ_X is our ReadX.</summary>
    private static string Normalize(string fact)
    {
        if (!fact.StartsWith("value ", StringComparison.Ordinal))
        {
            return fact;
        }
        string name = fact["value ".Length..];
        foreach (string prefix in (string[])["FUSE_", "FOPEN_"])
        {
            name = name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : name;
        }
        return "value " + name.Replace("_", "", StringComparison.Ordinal);
    }

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }
}
