using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>The record of some process's mount, as found in the state directory. The file stays open, so that its lock can be watched.</summary>
internal sealed class StoredRecord : IDisposable
{
    private readonly SafeFileHandle _file;

    private StoredRecord(SafeFileHandle file, MountRecord record) => (_file, Record) = (file, record);

    /// <summary>What was read.</summary>
    public MountRecord Record { get; }

    /// <summary>What the file says now, also when its name is gone. Null while it is being written.</summary>
    public MountRecord? ReadAgain() => Read(_file);

    /// <summary>The record as a file that can be removed.</summary>
    public HeldRecord In(string path) => HeldRecord.Inherited(path, _file);

    /// <summary>The daemon that wrote the record still runs.</summary>
    public bool IsHeld => Interop.IsLocked(_file);

    /// <summary>Reads a record; null when there is none, or it cannot be read.</summary>
    public static StoredRecord? TryOpen(string path)
    {
        SafeFileHandle? file = null;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            // While a worker takes over it writes its record anew, in place.
            for (int tries = 0; tries < MostReads; tries++)
            {
                if (Read(file) is { } record)
                {
                    return new StoredRecord(file, record);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // As good as none.
        }
        file?.Dispose();
        return null;
    }

    public void Dispose() => _file.Dispose();

    private const int MostReads = 3, Room = 4096;

    /// <summary>The record in an open file; null when it is none.</summary>
    public static MountRecord? Read(SafeFileHandle file)
    {
        try
        {
            byte[] content = new byte[RandomAccess.GetLength(file)];
            int length = RandomAccess.Read(file, content, 0);
            return JsonSerializer.Deserialize(content.AsSpan(0, length), DocumentJson.Default.MountRecord);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>
    /// What stands in the file of a record: filled up with spaces, so that what is added to it later needs no room on a disk that is full by then.
    /// </summary>
    /// <param name="record">The record.</param>
    /// <param name="least">Bytes that the file has.</param>
    public static byte[] ToBytes(MountRecord record, long least = 0)
    {
        byte[] content = JsonSerializer.SerializeToUtf8Bytes(record, DocumentJson.Default.MountRecord);
        int length = content.Length;
        Array.Resize(ref content, (int)Math.Max(least, length + Room & -Room));
        content.AsSpan(length).Fill((byte)' ');
        return content;
    }

    /// <summary>Notes, for `lazymount restart`, that the worker was not replaced.</summary>
    /// <param name="file">The file of the record.</param>
    /// <param name="reason">Why, as a sentence.</param>
    public static void NoteFailedRestart(SafeFileHandle file, string reason) => Change(file, old => old with { Restarts = old.Restarts + 1, RestartError = reason });

    /// <summary>Writes the record in an open file anew. A record that cannot be written stays as it was, or is none: the mount does not depend on it.</summary>
    public static void Change(SafeFileHandle file, Func<MountRecord, MountRecord> change)
    {
        try
        {
            if (Read(file) is { } record)
            {
                RandomAccess.Write(file, ToBytes(change(record), RandomAccess.GetLength(file)), 0);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk.
        }
    }
}
