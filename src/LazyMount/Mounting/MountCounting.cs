using System.Net.Sockets;
using LazyMount.Blobs.Counting;
using LazyMount.Cli;
using LazyMount.Fuse;
using LazyMount.Keeping;
using LazyMount.Metrics;
using Microsoft.Win32.SafeHandles;

namespace LazyMount.Mounting;

/// <summary>
/// The counters of a mount, and the socket at which they are served, if that is wanted. The keeper holds both, so that a worker goes on where the one
/// before it stopped.
/// </summary>
internal sealed class MountCounting
{
    private readonly MetricsAddress? _address;
    private readonly SafeFileHandle? _memory;
    private readonly SafeFileHandle? _listener;
    private readonly Socket? _socket; // the first worker's, which owns the listener
    private MetricsServer? _server;

    private MountCounting(MetricsAddress? address, SafeFileHandle? memory, Socket? socket, SafeFileHandle? listener)
    {
        (_address, _memory, _socket) = (address, memory, socket);
        _listener = socket is null ? listener : new SafeFileHandle(socket.Handle, ownsHandle: false);
        Counters = memory is null ? new ServingCounters() : CountersMemory.Open(memory);
    }

    /// <summary>What is counted.</summary>
    public ServingCounters Counters { get; }

    /// <summary>What the keeper is to hold for the next worker.</summary>
    public IEnumerable<(string Role, SafeFileHandle File)> Held
        => _listener is null ? [(HeldFiles.Counters, _memory!)] : [(HeldFiles.Counters, _memory!), (HeldFiles.Metrics, _listener)];

    /// <summary>Counts from 0, and listens at an address.</summary>
    /// <exception cref="CommandException">The address cannot be had.</exception>
    /// <exception cref="IOException">There is no memory.</exception>
    public static MountCounting Start(MetricsAddress? address)
        => new(address, Interop.MemoryFile("lazymount-counters", new byte[CountersMemory.Size]), address?.Listen(), null);

    /// <summary>Goes on with what a keeper holds. A keeper of an earlier version of the program holds nothing: then this worker counts alone.</summary>
    public static MountCounting Resume(MetricsAddress? address, KeeperLink keeper)
        => new(address, keeper.FileOf(HeldFiles.Counters), null, keeper.FileOf(HeldFiles.Metrics));

    /// <summary>Answers those who ask for the counters from now on.</summary>
    public void Serve() => _server = _listener is null ? null : new MetricsServer(_listener, Counters);

    /// <summary>Answers no longer: another worker does.</summary>
    public void Pause() => _server?.Stop();

    /// <summary>The mount has ended.</summary>
    public void End()
    {
        Pause();
        if (_listener is not null)
        {
            MetricsAddress.Remove(_address?.ToString());
        }
    }
}
