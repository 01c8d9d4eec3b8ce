namespace LazyMount.Fuse;

/// <summary>What this process can mount with on this machine, found out without a mount.</summary>
public static class FuseSupport
{
    /// <summary>Is there where SELinux is on.</summary>
    internal const string SELinux = "/sys/fs/selinux/enforce";

    /// <summary>Why /dev/fuse cannot be opened and what to do, as a sentence; null when it can.</summary>
    public static string? WhyNoDevice()
    {
        try
        {
            FuseDevice.Open().Dispose();
            return null;
        }
        catch (FuseException e)
        {
            return e.Message;
        }
    }

    /// <summary>The path of fusermount3, through which users other than root mount; null when it is in no directory of PATH.</summary>
    public static string? FindFusermount()
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Select(directory => Path.Combine(directory, Fusermount.Program)).FirstOrDefault(File.Exists);
}
