using System.Globalization;
using System.Text;
using LazyMount.Cli;
using LazyMount.Fuse;

namespace LazyMount.Mounting;

/// <summary>One word of <c>-o</c>.</summary>
/// <param name="Name">What stands before "=".</param>
/// <param name="Value">What stands behind it, for help; null when the word has no value.</param>
/// <param name="Description">What it does, for help.</param>
/// <param name="Apply">Changes the options; is given the value.</param>
internal sealed record MountOptionWord(string Name, string? Value, string Description, Func<MountOptions, string, MountOptions> Apply)
{
    /// <summary>Only root may use it.</summary>
    public bool IsForRoot { get; init; }

    /// <summary>As it is typed.</summary>
    public string Term => Value is null ? Name : $"{Name}={Value}";
}

/// <summary>What <c>-o</c> says, in the manner of mount(8): a comma-separated list, later words win.</summary>
internal sealed record MountOptions
{
    public bool AllowOther { get; init; }
    public uint? Uid { get; init; }
    public uint? Gid { get; init; }
    public uint Umask { get; init; }
    public bool NoExec { get; init; }
    public bool Suid { get; init; }
    public bool Dev { get; init; }
    public string? Context { get; init; }

    /// <summary>All words.</summary>
    public static IReadOnlyList<MountOptionWord> Words { get; } =
    [
        new("defaults", null, "change nothing", (options, _) => options),
        new("ro", null, "mount read-only, as always", (options, _) => options),
        new("allow_other", null, "let other users in; root always does", (options, _) => options with { AllowOther = true }),
        new("uid", "N", "show all files as those of this user", (options, value) => options with { Uid = Number("uid", value) }),
        new("gid", "N", "show all files as those of this group", (options, value) => options with { Gid = Number("gid", value) }),
        new("umask", "MASK", "take these permissions (octal) away", (options, value) => options with { Umask = Mask(value) }),
        new("exec", null, "programs can be executed", (options, _) => options with { NoExec = false }),
        new("noexec", null, "programs cannot be executed", (options, _) => options with { NoExec = true }),
        new("nosuid", null, "ignore setuid bits and capabilities", (options, _) => options with { Suid = false }),
        new("nodev", null, "ignore devices", (options, _) => options with { Dev = false }),
        new("suid", null, "honour setuid bits and capabilities", (options, _) => options with { Suid = true }) { IsForRoot = true },
        new("dev", null, "honour devices", (options, _) => options with { Dev = true }) { IsForRoot = true },
        new("context", "LABEL", "SELinux label of all files", (options, value) => options with { Context = Label(value) }) { IsForRoot = true },
    ];

    /// <summary>Parses, or throws <see cref="UsageException"/> naming the word that is wrong.</summary>
    public static MountOptions Parse(IEnumerable<string> lists, bool isRoot)
    {
        var options = new MountOptions();
        foreach (string text in lists.SelectMany(Split))
        {
            (string name, string? value) = Cut(text);
            if (name == "rw" && value is null)
            {
                throw new UsageException("cannot use the mount option 'rw': an image is read-only; put an overlayfs on top to write");
            }
            MountOptionWord word = Words.FirstOrDefault(word => word.Name == name && word.Value is null == value is null)
                ?? throw new UsageException($"cannot use the mount option '{text}': it is unknown; known options are {string.Join(", ", Words.Select(word => word.Term))}");
            options = word.IsForRoot && !isRoot
                ? throw new UsageException($"cannot use the mount option '{name}': only root may; run as root")
                : word.Apply(options, value ?? "");
        }
        return options;
    }

    /// <summary>The words of a list. A comma within double quotes is part of its word; the quotes are not.</summary>
    public static IEnumerable<string> Split(string list)
    {
        var word = new StringBuilder();
        bool isQuoted = false;
        foreach (char c in list + ",")
        {
            if (c == ',' && !isQuoted)
            {
                string text = word.ToString().Trim();
                word.Clear();
                if (text.Length > 0)
                {
                    yield return text;
                }
            }
            else if (c == '"')
            {
                isQuoted = !isQuoted;
            }
            else
            {
                word.Append(c);
            }
        }
        if (isQuoted)
        {
            throw new UsageException($"cannot use the mount options '{list}': a double quote is missing; write NAME=\"VALUE\"");
        }
    }

    /// <summary>The name of a word and its value, which may be missing.</summary>
    public static (string Name, string? Value) Cut(string word) => word.IndexOf('=') is >= 0 and int at ? (word[..at], word[(at + 1)..]) : (word, null);

    private static uint Number(string name, string value)
        => uint.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) && number != uint.MaxValue
            ? number
            : throw new UsageException($"cannot use the mount option '{name}={value}': its value is not a number; write uid=N or gid=N");

    private static uint Mask(string value)
    {
        const uint All = 0x1FF; // 0777
        uint mask = 0;
        foreach (char digit in value)
        {
            mask = digit is >= '0' and <= '7' && mask <= All ? (mask << 3) | (uint)(digit - '0') : uint.MaxValue;
        }
        return value.Length > 0 && mask <= All
            ? mask
            : throw new UsageException($"cannot use the mount option 'umask={value}': its value is not an octal number up to 777; write umask=022");
    }

    private static string Label(string value)
        => value.Length > 0 ? value : throw new UsageException("cannot use the mount option 'context=': it needs a value; write context=\"USER:ROLE:TYPE:LEVEL\"");

    public FuseMountOptions ToFuse(string source) => new()
    {
        Source = source,
        AllowOther = AllowOther,
        Uid = Uid,
        Gid = Gid,
        Umask = Umask,
        NoExec = NoExec,
        Suid = Suid,
        Dev = Dev,
        Context = Context,
    };
}
