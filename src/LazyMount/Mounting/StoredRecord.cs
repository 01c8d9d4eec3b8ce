using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>The record of some process's mount, as found in the state directory. The file stays open, so that its lock can be watched.</summary>
internal sealed class StoredRecord : IDisposable
{
    private readonly SafeFileHandle _file;

    private StoredRecord(SafeFileHandle file, MountRecord record) => (_file, Record) = (file, record);

    public MountRecord Record { get; }

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

    private const int MostReads = 3;

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

    /// <summary>Writes the record in an open file anew. A record that cannot be written stays as it was, or is none: the mount does not depend on it.</summary>
    public static void Change(SafeFileHandle file, Func<MountRecord, MountRecord> change)
    {
        try
        {
            if (Read(file) is { } record)
            {
                byte[] content = JsonSerializer.SerializeToUtf8Bytes(change(record), DocumentJson.Default.MountRecord);
                RandomAccess.Write(file, content, 0);
                RandomAccess.SetLength(file, content.Length);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk.
        }
    }
}
