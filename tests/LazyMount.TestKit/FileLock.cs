namespace LazyMount.TestKit;

/// <summary>Another process that holds a lock.</summary>
public static class FileLock
{
    /// <summary>
    /// Starts a process that holds the exclusive lock (flock) of a file or a directory, and does nothing else, as one that is
    /// stopped. Returns when it has the lock.
    /// </summary>
    public static Tool Hold(string path)
    {
        string marker = Path.Combine(Path.GetTempPath(), $"lazymount-test-{Guid.NewGuid():N}");
        Tool other = Tool.Start("perl", ["-e", "use Fcntl ':flock', 'O_RDONLY'; sysopen(F, $ARGV[0], O_RDONLY) && flock(F, LOCK_EX) or die $!; open(M, '>', $ARGV[1]); close(M); sleep(300)", path, marker]);
        while (!File.Exists(marker))
        {
            if (other.HasExited)
            {
                throw new InvalidOperationException(other.WaitForExit().Error);
            }
            Thread.Sleep(10);
        }
        File.Delete(marker);
        return other;
    }
}
