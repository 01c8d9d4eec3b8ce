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

    /// <summary>Honour setuid bits and file capabilities (root only; off by default).</summary>
    public bool Suid { get; init; }

    /// <summary>Honour device nodes (root only; off by default).</summary>
    public bool Dev { get; init; }

    /// <summary>Refuse to execute programs.</summary>
    public bool NoExec { get; init; }

    /// <summary>The process that stands for the mount in the mount table, as long as it lives; null: this one.</summary>
    public int? Server { get; init; }

    /// <summary>Reader threads; 0: one per core, 2 to 4.</summary>
    public int Threads { get; init; }
}
