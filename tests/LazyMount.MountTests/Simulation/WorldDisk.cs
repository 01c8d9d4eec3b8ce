using LazyMount.TestKit;

namespace LazyMount.MountTests.Simulation;

internal enum DiskKind
{
    /// <summary>A directory beside the other files.</summary>
    Plain,

    /// <summary>A tmpfs with little room: ENOSPC.</summary>
    Small,

    /// <summary>ext4 on a loop device whose file is cut: EIO for all that was behind the cut.</summary>
    Dying,
}

/// <summary>The disk that the cache is on. Root only, except <see cref="DiskKind.Plain"/>.</summary>
internal sealed class WorldDisk : IDisposable
{
    private const int DyingSize = 64 << 20;

    private readonly string _file;

    /// <param name="kind">What it is.</param>
    /// <param name="directory">Where to make it.</param>
    /// <param name="size">Bytes of a small one.</param>
    public WorldDisk(DiskKind kind, TemporaryDirectory directory, long size)
    {
        (Kind, Directory, _file) = (kind, directory.CreateDirectory("disk"), directory["disk.ext4"]);
        switch (kind)
        {
            case DiskKind.Small:
                Tool.Run("mount", "-t", "tmpfs", "-o", $"size={size}", "tmpfs", Directory).EnsureSuccess();
                break;
            case DiskKind.Dying:
                Format();
                break;
        }
        System.IO.Directory.CreateDirectory(Cache);
    }

    public DiskKind Kind { get; }

    public string Directory { get; }

    public string Cache => Path.Combine(Directory, "cache");

    /// <summary>Gives a small one more room.</summary>
    public void Grow(long size) => Tool.Run("mount", "-o", $"remount,size={size}", Directory).EnsureSuccess();

    /// <summary>Leaves no byte of a small one free.</summary>
    public void Fill() => Tool.Shell("cat /dev/zero > \"$1/filler\" 2>&-", Directory);

    public void Free() => File.Delete(Path.Combine(Directory, "filler"));

    /// <summary>From here on a dying one has no bytes any more. What the kernel has of it in memory is dropped.</summary>
    public void Cut(long at)
    {
        Tool.Run("sync", "-f", Directory);
        using (var file = new FileStream(_file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            file.SetLength(at);
        File.WriteAllText("/proc/sys/vm/drop_caches", "3");
    }

    /// <summary>Another disk in the place of a dying one, empty. Nobody may use it.</summary>
    public void Replace()
    {
        Tool.Run("umount", "-l", Directory);
        Format();
        System.IO.Directory.CreateDirectory(Cache);
    }

    public void Dispose()
    {
        if (Kind != DiskKind.Plain)
            Tool.Run("umount", "-l", Directory);
    }

    private void Format()
    {
        File.Delete(_file);
        using (FileStream file = File.Create(_file))
            file.SetLength(DyingSize);
        Tool.Run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", _file).EnsureSuccess();
        Tool.Run("mount", "-o", "loop,errors=continue", _file, Directory).EnsureSuccess();
    }
}
