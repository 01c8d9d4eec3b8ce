namespace LazyMount.Fuse;

/// <summary>How to mount.</summary>
public sealed record FuseMountOptions
{
    /// <summary>The source in /proc/mounts, such as the image reference.</summary>
    public required string Source { get; init; }

    /// <summary>Let other users than the mounting one in (modes still hold). Root always allows it.</summary>
    public bool AllowOther { get; init; }

    /// <summary>Show every node as owned by this user, or null.</summary>
    public uint? Uid { get; init; }

    /// <summary>Show every node as of this group, or null.</summary>
    public uint? Gid { get; init; }

    /// <summary>Permission bits that are taken from every file.</summary>
    public uint Umask { get; init; }

    /// <summary>The SELinux label of all files, or null. Root only, and without effect where SELinux is off.</summary>
    public string? Context { get; init; }

    /// <summary>Honour setuid bits and file capabilities (root only; off by default).</summary>
    public bool Suid { get; init; }

    /// <summary>Honour device nodes (root only; off by default).</summary>
    public bool Dev { get; init; }

    /// <summary>Refuse to execute programs.</summary>
    public bool NoExec { get; init; }

    /// <summary>The process that stands for the mount in the mount table, as long as it lives; null: this one.</summary>
    public ServingProcess? Server { get; init; }

    /// <summary>Reader threads; 0: one per core, 2 to 4.</summary>
    public int Threads { get; init; }

    /// <summary>As mount(2) has them.</summary>
    internal nuint MountFlags => Interop.MS_RDONLY | (Suid ? 0 : Interop.MS_NOSUID) | (Dev ? 0 : Interop.MS_NODEV) | (NoExec ? Interop.MS_NOEXEC : 0);

    /// <summary>What is added to the data of mount(2) for the label.</summary>
    internal string ContextData => Context is not null && File.Exists(FuseSupport.SELinux) ? $",context=\"{Context}\"" : "";
}
