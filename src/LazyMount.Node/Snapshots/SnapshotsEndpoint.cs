using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using LazyMount.Node.Protos;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Snapshots;

/// <summary>The gRPC service `containerd.services.snapshots.v1.Snapshots`: messages to and from <see cref="Snapshotter"/>.</summary>
internal sealed class SnapshotsEndpoint(Snapshotter snapshotter, ILogger<SnapshotsEndpoint> logger) : Protos.Snapshots.SnapshotsBase
{
    private const int InfosInMessage = 100;

    public override Task<PrepareSnapshotResponse> Prepare(PrepareSnapshotRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        var response = new PrepareSnapshotResponse();
        Add(response.Mounts, await snapshotter.PrepareAsync(request.Key, request.Parent, Labels(request.Labels), context.CancellationToken));
        return response;
    });

    public override Task<ViewSnapshotResponse> View(ViewSnapshotRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        var response = new ViewSnapshotResponse();
        Add(response.Mounts, await snapshotter.ViewAsync(request.Key, request.Parent, Labels(request.Labels), context.CancellationToken));
        return response;
    });

    public override Task<MountsResponse> Mounts(MountsRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        var response = new MountsResponse();
        Add(response.Mounts, await snapshotter.MountsAsync(request.Key, context.CancellationToken));
        return response;
    });

    public override Task<Empty> Commit(CommitSnapshotRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        await snapshotter.CommitAsync(request.Name, request.Key, Labels(request.Labels), context.CancellationToken);
        return new Empty();
    });

    public override Task<Empty> Remove(RemoveSnapshotRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        await snapshotter.RemoveAsync(request.Key, context.CancellationToken);
        return new Empty();
    });

    public override Task<StatSnapshotResponse> Stat(StatSnapshotRequest request, ServerCallContext context)
        => AnswerAsync(() => Task.FromResult(new StatSnapshotResponse { Info = ToInfo(snapshotter.Stat(request.Key)) }));

    public override Task<UpdateSnapshotResponse> Update(UpdateSnapshotRequest request, ServerCallContext context)
        => AnswerAsync(() => Task.FromResult(new UpdateSnapshotResponse
        {
            Info = ToInfo(snapshotter.Update(request.Info?.Name ?? "", Labels(request.Info?.Labels ?? []), request.UpdateMask?.Paths ?? [])),
        }));

    // Filters are containerd's to apply: it does so to what comes.
    public override Task List(ListSnapshotsRequest request, IServerStreamWriter<ListSnapshotsResponse> responseStream, ServerCallContext context) => AnswerAsync(async () =>
    {
        foreach (SnapshotRecord[] some in snapshotter.List().Chunk(InfosInMessage))
        {
            var response = new ListSnapshotsResponse();
            response.Info.AddRange(some.Select(ToInfo));
            await responseStream.WriteAsync(response, context.CancellationToken);
        }
        return true;
    });

    public override Task<UsageResponse> Usage(UsageRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        (long size, long inodes) = await snapshotter.UsageAsync(request.Key);
        return new UsageResponse { Size = size, Inodes = inodes };
    });

    public override Task<Empty> Cleanup(CleanupRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        await snapshotter.CleanupAsync(context.CancellationToken);
        return new Empty();
    });

    private async Task<T> AnswerAsync<T>(Func<Task<T>> answer)
    {
        try
        {
            return await answer();
        }
        catch (SnapshotException e)
        {
            throw new RpcException(new Status(e.Code, e.Message));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            const int NoSpace = 28, OverQuota = 122;
            logger.RequestFailed(e, e.Message);
            throw new RpcException(new Status((e.HResult & 0xFFFF) is NoSpace or OverQuota ? StatusCode.ResourceExhausted : StatusCode.Internal, e.Message));
        }
        catch (OperationCanceledException)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, "the request was cancelled"));
        }
#pragma warning disable CA1031 // One request must not end the service.
        catch (Exception e) when (e is not RpcException)
#pragma warning restore CA1031
        {
            logger.RequestFailed(e, e.Message);
            throw new RpcException(new Status(StatusCode.Internal, "an error in lazymount-node; see its log"));
        }
    }

    private static Dictionary<string, string> Labels(MapField<string, string> labels) => new(labels, StringComparer.Ordinal);

    private static void Add(RepeatedField<Mount> to, IEnumerable<SnapshotMount> mounts)
    {
        foreach (SnapshotMount mount in mounts)
        {
            var message = new Mount { Type = mount.Type, Source = mount.Source };
            message.Options.AddRange(mount.Options);
            to.Add(message);
        }
    }

    private static Info ToInfo(SnapshotRecord record)
    {
        var info = new Info
        {
            Name = record.Name,
            Parent = record.Parent,
            Kind = (Kind)record.Kind,
            CreatedAt = Timestamp.FromDateTime(record.CreatedAt),
            UpdatedAt = Timestamp.FromDateTime(record.UpdatedAt),
        };
        foreach ((string key, string value) in record.Labels)
        {
            info.Labels.Add(key, value);
        }
        return info;
    }
}
