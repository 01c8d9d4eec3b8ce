using System.Runtime.InteropServices;

namespace LazyMount.Blobs.Files;

/// <summary>Says in a few words why a file call failed, and what may help.</summary>
public static class FileProblem
{
    /// <summary>True for the failures of files that are a user's to mend, not bugs.</summary>
    public static bool IsOne(Exception e) => e is IOException or UnauthorizedAccessException;

    /// <summary>True when the disk is full or fails, so that the same may work another time.</summary>
    public static bool IsTheDisks(Exception e) => ErrorOf(e) is Interop.NoSpace or Interop.QuotaExceeded or Interop.Failed;

    /// <summary>True when there is no such file, or no directory for it.</summary>
    public static bool IsMissing(Exception e) => e is FileNotFoundException or DirectoryNotFoundException || ErrorOf(e) == Interop.NoEntry;

    /// <summary>The reason without the path: the caller's sentence names the file.</summary>
    public static string Reason(Exception e)
    {
        // The runtime's messages end in " : 'PATH'" or hold "'PATH'", and end with a full stop.
        string message = e switch
        {
            FileNotFoundException or DirectoryNotFoundException => "No such file or directory",
            UnauthorizedAccessException { InnerException: IOException inner } => inner.Message,
            _ => e.Message,
        };
        int path = message.IndexOf(" : '", StringComparison.Ordinal);
        return (path < 0 ? message : message[..path]).TrimEnd('.');
    }

    /// <summary>The next step when a directory cannot be written to: free space, get permission, or use another directory.</summary>
    /// <param name="e">The failure.</param>
    /// <param name="directory">How the sentence names the directory.</param>
    /// <param name="otherwise">How to choose another directory, such as "choose another directory with --cache-dir".</param>
    public static string Advice(Exception e, string directory, string otherwise)
        => ErrorOf(e) switch
        {
            Interop.NoSpace or Interop.QuotaExceeded => $"free some space there, or {otherwise}",
            Interop.ReadOnlyFileSystem => otherwise,
            Interop.NotPermitted or Interop.NoAccess => $"get permission to write to {directory}, or {otherwise}",
            _ => otherwise,
        };

    /// <summary>
    /// The reason and the next step when something cannot be made because the directory above it is missing. A destination itself is
    /// made, missing directories above it never: a slip in a path would else make a tree of directories.
    /// </summary>
    /// <param name="directory">The directory that is missing, as the user can name it.</param>
    public static string NoDirectory(string directory) => $"there is no directory '{directory}'; make it first with mkdir -p '{directory}'";

    /// <summary>The reason and the next step when nothing can be made in a directory that the user named.</summary>
    /// <param name="errno">What the call failed with.</param>
    public static string NotWritable(int errno) => $"{Marshal.GetPInvokeErrorMessage(errno)}; name a directory that you can write to";

    // The runtime has the error number in HResult: of the exception itself, or of the cause of a refusal.
    private static int ErrorOf(Exception e) => e is UnauthorizedAccessException
        ? e.InnerException is { HResult: Interop.NotPermitted } ? Interop.NotPermitted : Interop.NoAccess
        : e.HResult;
}
