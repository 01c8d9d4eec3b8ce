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
            byte[] content = new byte[RandomAccess.GetLength(file)];
            int length = RandomAccess.Read(file, content, 0);
            if (JsonSerializer.Deserialize(content.AsSpan(0, length), DocumentJson.Default.MountRecord) is { } record)
            {
                return new StoredRecord(file, record);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            // As good as none.
        }
        file?.Dispose();
        return null;
    }

    public void Dispose() => _file.Dispose();
}
