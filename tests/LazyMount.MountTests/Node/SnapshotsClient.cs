using System.Net.Sockets;
using Grpc.Net.Client;
using LazyMount.Node.Protos;

namespace LazyMount.MountTests.Node;

/// <summary>What containerd says to lazymount-node, said by a test.</summary>
internal sealed class SnapshotsClient : IDisposable
{
    public const string Target = "containerd.io/snapshot.ref";

    private readonly GrpcChannel _channel;

    public SnapshotsClient(string socket)
    {
        _channel = Connect(socket);
        Calls = new Snapshots.SnapshotsClient(_channel);
    }

    public Snapshots.SnapshotsClient Calls { get; }

    /// <summary>A channel to a unix socket.</summary>
    public static GrpcChannel Connect(string socket) => GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancellationToken);
                return new NetworkStream(connection, ownsSocket: true);
            },
        },
    });

    public IReadOnlyList<Mount> Prepare(string key, string parent, params (string Key, string Value)[] labels)
    {
        var request = new PrepareSnapshotRequest { Key = key, Parent = parent };
        foreach ((string name, string value) in labels)
        {
            request.Labels.Add(name, value);
        }
        return Calls.Prepare(request).Mounts;
    }

    public IReadOnlyList<Mount> View(string key, string parent) => Calls.View(new ViewSnapshotRequest { Key = key, Parent = parent }).Mounts;

    public IReadOnlyList<Mount> Mounts(string key) => Calls.Mounts(new MountsRequest { Key = key }).Mounts;

    public void Remove(string key) => Calls.Remove(new RemoveSnapshotRequest { Key = key });

    public IReadOnlyList<Info> List()
    {
        using var call = Calls.List(new ListSnapshotsRequest());
        var infos = new List<Info>();
        while (call.ResponseStream.MoveNext(CancellationToken.None).GetAwaiter().GetResult())
        {
            infos.AddRange(call.ResponseStream.Current.Info);
        }
        return infos;
    }

    public void Dispose() => _channel.Dispose();
}
