using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LazyMount.Blobs.Files;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Metrics;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// One record and one log file per mount point, in a directory of the user's. The kernel's mount table is the truth
/// about what is mounted; records only add to it. A daemon locks its record while it lives.
/// </summary>
internal sealed class StateDirectory
{
    private const string Otherwise = "choose another directory with $LAZYMOUNT_STATE";

    private static readonly TimeSpan s_logsKept = TimeSpan.FromDays(7);

    private StateDirectory(string root) => Root = root;

    public string Root { get; }

    /// <summary>For reading: a directory that is not there has no records.</summary>
    public static StateDirectory Open() => At(StandardDirectory.State);

    public static StateDirectory At(string root) => new(root);

    /// <summary>For writing: creates it. The records are trusted, so only this user and root may write to it.</summary>
    public static StateDirectory Create() => Create(StandardDirectory.State);

    internal static StateDirectory Create(string root)
    {
        try
        {
            if (OwnedDirectory.Ensure(root, Otherwise, isPrivate: true) is { } problem)
            {
                throw new CommandException($"cannot use the state directory '{root}': {problem}");
            }
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new CommandException($"cannot make the state directory '{root}': {FileProblem.Reason(e)}; {FileProblem.Advice(e, "the directory above it", Otherwise)}", inner: e);
        }
        return new StateDirectory(root);
    }

    /// <summary>As <see cref="Create()"/>, for a mount: one that cannot be used is told, and the mount does without.</summary>
    /// <param name="tell">Takes a sentence for the user.</param>
    public static StateDirectory? TryCreate(Action<string> tell)
    {
        try
        {
            return Create();
        }
        catch (CommandException e)
        {
            tell($"note: the mount has no record and no log file: {e.Message}");
            return null;
        }
    }

    /// <summary>Where the daemon of a mount point logs to.</summary>
    public string LogFileOf(string mountPoint) => Path.Combine(Root, NameOf(mountPoint) + ".log");

    // A directory may have several mounts at once: one that was detached or moved and is still in use, or one that lies over another.
    private string RecordFileOf(MountRecord record) => Path.Combine(Root, string.Create(CultureInfo.InvariantCulture, $"{NameOf(record.MountPoint)}.{record.Pid}.json"));

    /// <summary>The file of the <see cref="MountStatus"/> beside a record.</summary>
    public static string StatusFileBeside(string record) => Path.ChangeExtension(record, ".status");

    /// <summary>What a mount has done so far; null when nobody has noted it.</summary>
    public MountStatus? StatusOf(MountRecord record) => MountStatus.TryRead(StatusFileBeside(RecordFileOf(record)));

    // Readable, and yet different for different directories.
    private static string NameOf(string mountPoint)
    {
        var name = new StringBuilder();
        foreach (char c in Path.GetFileName(mountPoint))
        {
            name.Append(char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c : '_');
        }
        string hash = Convert.ToHexStringLower(SHA256.HashData(PathText.Encode(mountPoint)).AsSpan(0, 6));
        return $"{name.ToString(0, Math.Min(name.Length, 40))}-{hash}";
    }

    /// <summary>The record of the mount that this process goes on with.</summary>
    /// <param name="file">The open file of the record, with its lock.</param>
    /// <returns>Null when there is no record in the file.</returns>
    public HeldRecord? Inherit(SafeFileHandle file) => StoredRecord.Read(file) is { } record ? HeldRecord.Inherited(RecordFileOf(record), file) : null;

    /// <summary>Writes the record of this process's mount, and locks it for as long as the process lives.</summary>
    /// <exception cref="CommandException">It cannot be written.</exception>
    public HeldRecord Write(MountRecord record)
    {
        string path = RecordFileOf(record);
        try
        {
            Delete(StatusFileBeside(path)); // of a mount that was killed
            return HeldRecord.Write(path, StoredRecord.ToBytes(record));
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new CommandException($"cannot write '{path}': {FileProblem.Reason(e)}; {FileProblem.Advice(e, "the state directory", Otherwise)}", inner: e);
        }
    }

    /// <summary>As <see cref="Write"/>; a record that cannot be written is told, and the mount does without.</summary>
    public HeldRecord? TryWrite(MountRecord record, Action<string> tell)
    {
        try
        {
            return Write(record);
        }
        catch (CommandException e)
        {
            tell($"note: the mount has no record: {e.Message}");
            return null;
        }
    }

    /// <summary>All records, in no order. Unreadable ones are no records. To be disposed.</summary>
    /// <exception cref="CommandException">The directory is there and cannot be read.</exception>
    public IReadOnlyList<StoredRecord> ReadAll()
    {
        string[] files;
        try
        {
            files = Directory.Exists(Root) ? Directory.GetFiles(Root, "*.json") : [];
        }
        catch (Exception e) when (FileProblem.IsOne(e))
        {
            throw new CommandException($"cannot read the state directory '{Root}': {FileProblem.Reason(e)}; get permission to read it, or {Otherwise}", inner: e);
        }
        return [.. files.Select(StoredRecord.TryOpen).OfType<StoredRecord>()];
    }

    /// <summary>
    /// The record of the mount on a directory, wherever that was moved to: of the uppermost where several lie over one another. Null where none is
    /// known to be of it.
    /// </summary>
    /// <param name="directory">As the mount table has it; also where a mount was made that was moved since.</param>
    /// <param name="mounts">The mount table.</param>
    /// <param name="records">All records.</param>
    public static StoredRecord? Find(string directory, IReadOnlyList<MountPoint> mounts, IReadOnlyList<StoredRecord> records)
        => mounts.LastOrDefault(mount => mount.Directory == directory) is not { } mount
            ? records.FirstOrDefault(record => record.IsHeld && record.Record.MountPoint == directory)
            // The device number is the mount's for certain only while its daemon lives, or its corpse is there. Another daemon may be about to
            // end that had the number before.
            : records.Where(record => record.Record.IsOf(mount) && (record.IsHeld || mount.IsDead())).MaxBy(record => record.Record.MountPoint == directory);

    /// <summary>
    /// Removes the record of a daemon that was killed, and the socket of its metrics. The record of another mount that has the same name by now stays.
    /// </summary>
    public void Remove(StoredRecord stored)
    {
        MetricsAddress.RemoveIfLeftBehind(stored.Record.Metrics);
        stored.In(RecordFileOf(stored.Record)).Remove();
    }

    /// <summary>Removes the log of a mount, with its older part.</summary>
    public static void RemoveLog(string log)
    {
        Delete(log);
        Delete(log + DaemonLog.OlderPart);
    }

    /// <summary>Removes logs that nobody has written to for long and whose mount is gone.</summary>
    public void SweepLogs()
    {
        if (Directory.Exists(Root))
        {
            foreach (string log in Directory.EnumerateFiles(Root, "*.log*"))
            {
                string records = Path.GetFileName(log).Split(".log")[0] + ".*.json";
                if (DateTime.UtcNow - File.GetLastWriteTimeUtc(log) > s_logsKept && !Directory.EnumerateFiles(Root, records).Any())
                {
                    Delete(log);
                }
            }
        }
    }

    private static void Delete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another user's, or gone already: what it says is checked against the mount table anyway.
        }
    }
}
