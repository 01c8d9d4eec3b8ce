using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LazyMount.Blobs.Files;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Snapshots;

/// <summary>
/// The records of all snapshots: in memory, and on disk in a file each, whose name is a hash of the snapshot's. A change is on disk before it
/// counts, so that a process that is killed at any moment leaves the state before or the state after. Thread-safe.
/// <para>A snapshot's directory is <c>snapshots/ID</c> below the root. One without a record is left over; <see cref="Orphans"/> finds them.</para>
/// </summary>
internal sealed class SnapshotStore
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private readonly string _records;
    private readonly string _directories;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, SnapshotRecord> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _children = new(StringComparer.Ordinal);
    private readonly HashSet<long> _reserved = []; // directories that are being made
    private long _lastId;

    private SnapshotStore(string root) => (_records, _directories) = (Path.Combine(root, "records"), Path.Combine(root, "snapshots"));

    /// <summary>Reads the records. What cannot be read is logged, and stays on disk.</summary>
    /// <exception cref="IOException">The directories cannot be made or read.</exception>
    /// <exception cref="UnauthorizedAccessException">They may not be.</exception>
    public static SnapshotStore Open(string root, ILogger logger)
    {
        var store = new SnapshotStore(root);
        foreach (string directory in (string[])[root, store._records, store._directories])
        {
            Directory.CreateDirectory(directory, OwnerOnly);
        }
        AtomicFile.Sweep(store._records);
        foreach (string file in Directory.EnumerateFiles(store._records, "*.json"))
        {
            try
            {
                store.Load(JsonSerializer.Deserialize(File.ReadAllBytes(file), RecordJson.Default.SnapshotRecord) ?? throw new JsonException("it is empty"), file);
            }
            catch (Exception e) when (e is JsonException or IOException)
            {
                logger.RecordUnreadable(file, e.Message);
            }
        }
        foreach (string directory in Directory.EnumerateDirectories(store._directories))
        {
            store._lastId = long.TryParse(Path.GetFileName(directory), out long id) ? Math.Max(store._lastId, id) : store._lastId;
        }
        return store;
    }

    /// <summary>All snapshots.</summary>
    public IReadOnlyList<SnapshotRecord> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _byName.Values];
            }
        }
    }

    public SnapshotRecord? Find(string name)
    {
        lock (_lock)
        {
            return _byName.GetValueOrDefault(name);
        }
    }

    /// <exception cref="SnapshotException">There is none.</exception>
    public SnapshotRecord Get(string name) => Find(name) ?? throw SnapshotException.NotFound(name);

    /// <summary>The directory of a snapshot.</summary>
    public string DirectoryOf(long id) => Path.Combine(_directories, id.ToString(System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>A number whose directory nobody has. Nobody sweeps the directory until <see cref="Add"/> or <see cref="Release"/>.</summary>
    public long Reserve()
    {
        lock (_lock)
        {
            _reserved.Add(++_lastId);
            return _lastId;
        }
    }

    public void Release(long id)
    {
        lock (_lock)
        {
            _reserved.Remove(id);
        }
    }

    /// <summary>Adds a snapshot.</summary>
    /// <exception cref="SnapshotException">There is one of the name, or the parent is gone.</exception>
    /// <exception cref="IOException">The record cannot be written.</exception>
    public void Add(SnapshotRecord record)
    {
        lock (_lock)
        {
            CheckNew(record);
            Write(record);
            Insert(record);
            _reserved.Remove(record.Id);
        }
    }

    /// <summary>Puts a record in the place of another, which may have another name.</summary>
    /// <exception cref="SnapshotException">There is one of the new name, or none of the old.</exception>
    public SnapshotRecord Replace(string name, Func<SnapshotRecord, SnapshotRecord> change)
    {
        lock (_lock)
        {
            SnapshotRecord before = _byName.GetValueOrDefault(name) ?? throw SnapshotException.NotFound(name), after = change(before);
            if (after.Name != name)
            {
                CheckNew(after);
            }
            Write(after);
            if (after.Name != name)
            {
                // Killed here, both are there with one directory: Load knows that the committed one counts.
                File.Delete(FileOf(name));
            }
            Forget(before);
            Insert(after);
            return after;
        }
    }

    /// <summary>Removes a snapshot. Its directory is an orphan then.</summary>
    /// <exception cref="SnapshotException">There is none, or others are made over it.</exception>
    public SnapshotRecord Remove(string name)
    {
        lock (_lock)
        {
            SnapshotRecord record = _byName.GetValueOrDefault(name) ?? throw SnapshotException.NotFound(name);
            if (_children.GetValueOrDefault(name) > 0)
            {
                throw new SnapshotException(Grpc.Core.StatusCode.FailedPrecondition, $"cannot remove the snapshot '{name}': other snapshots are made over it; remove those first");
            }
            File.Delete(FileOf(name));
            Forget(record);
            return record;
        }
    }

    /// <summary>The directories that belong to no snapshot.</summary>
    public IReadOnlyList<string> Orphans()
    {
        string[] there = Directory.GetDirectories(_directories);
        lock (_lock)
        {
            HashSet<string> known = [.. _byName.Values.Select(record => record.Id).Concat(_reserved).Select(DirectoryOf)];
            return [.. there.Where(directory => !known.Contains(directory))];
        }
    }

    /// <summary>A snapshot and those that it is made over, uppermost first.</summary>
    /// <exception cref="SnapshotException">One is not there.</exception>
    public IEnumerable<SnapshotRecord> Chain(string name)
    {
        while (name.Length > 0)
        {
            SnapshotRecord record = Get(name);
            yield return record;
            name = record.Parent;
        }
    }

    private void CheckNew(SnapshotRecord record)
    {
        if (_byName.ContainsKey(record.Name))
        {
            throw SnapshotException.Exists(record.Name);
        }
        if (record.Parent.Length > 0 && !_byName.ContainsKey(record.Parent))
        {
            throw SnapshotException.NotFound(record.Parent);
        }
    }

    private void Load(SnapshotRecord record, string file)
    {
        SnapshotRecord? other = record.Remote is null ? _byName.Values.FirstOrDefault(other => other.Id == record.Id) : null;
        if (other is not null && record.Kind != SnapshotKind.Committed)
        {
            File.Delete(file);
            return;
        }
        if (other is not null)
        {
            File.Delete(FileOf(other.Name));
            Forget(other);
        }
        Insert(record);
        _lastId = Math.Max(_lastId, record.Id);
    }

    private void Insert(SnapshotRecord record)
    {
        _byName[record.Name] = record;
        if (record.Parent.Length > 0)
        {
            _children[record.Parent] = _children.GetValueOrDefault(record.Parent) + 1;
        }
    }

    private void Forget(SnapshotRecord record)
    {
        _byName.Remove(record.Name);
        if (record.Parent.Length > 0 && --_children[record.Parent] == 0)
        {
            _children.Remove(record.Parent);
        }
    }

    private void Write(SnapshotRecord record)
        => AtomicFile.Write(FileOf(record.Name), JsonSerializer.SerializeToUtf8Bytes(record, RecordJson.Default.SnapshotRecord), durable: true);

    private string FileOf(string name) => Path.Combine(_records, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name))) + ".json");
}
