using System.Globalization;
using LazyMount.Cli;
using LazyMount.Fuse;

namespace LazyMount.Mounting;

/// <summary>What <c>-o</c> says, in the manner of mount(8): a comma-separated list, later words win.</summary>
internal sealed record MountOptions
{
    public bool AllowOther { get; init; }
    public uint? Uid { get; init; }
    public uint? Gid { get; init; }
    public bool NoExec { get; init; }
    public bool Suid { get; init; }
    public bool Dev { get; init; }

    /// <summary>Parses, or throws <see cref="UsageException"/> naming the word that is wrong.</summary>
    public static MountOptions Parse(IEnumerable<string> lists, bool isRoot)
    {
        var options = new MountOptions();
        foreach (string word in lists.SelectMany(list => list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)))
        {
            (string name, string? value) = word.IndexOf('=') is >= 0 and int at ? (word[..at], word[(at + 1)..]) : (word, null);
            options = (name, value) switch
            {
                ("ro" or "defaults", null) => options,
                ("rw", null) => throw new UsageException("cannot use the mount option 'rw': an image is read-only; put an overlayfs on top to write"),
                ("allow_other", null) => options with { AllowOther = true },
                ("uid", not null) => options with { Uid = Number(word, value) },
                ("gid", not null) => options with { Gid = Number(word, value) },
                ("noexec", null) => options with { NoExec = true },
                ("exec", null) => options with { NoExec = false },
                ("nosuid", null) => options with { Suid = false },
                ("nodev", null) => options with { Dev = false },
                ("suid" or "dev", null) when !isRoot => throw new UsageException($"cannot use the mount option '{name}': only root may; run as root"),
                ("suid", null) => options with { Suid = true },
                ("dev", null) => options with { Dev = true },
                _ => throw new UsageException($"cannot use the mount option '{word}': it is unknown; known options are ro, allow_other, uid=N, gid=N, exec, noexec, suid, nosuid, dev, nodev"),
            };
        }
        return options;
    }

    private static uint Number(string word, string value)
        => uint.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) && number != uint.MaxValue
            ? number
            : throw new UsageException($"cannot use the mount option '{word}': its value is not a number; write uid=N or gid=N");

    public FuseMountOptions ToFuse(string source) => new()
    {
        Source = source,
        AllowOther = AllowOther,
        Uid = Uid,
        Gid = Gid,
        NoExec = NoExec,
        Suid = Suid,
        Dev = Dev,
    };
}
