using Grpc.Core;
using LazyMount.Node.Protos;

namespace LazyMount.Node;

/// <summary>The gRPC health checking protocol: who gets an answer knows that the service serves.</summary>
internal sealed class HealthEndpoint : Health.HealthBase
{
    private static readonly string[] s_services = ["", "containerd.services.snapshots.v1.Snapshots"];

    public override Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context)
        => s_services.Contains(request.Service)
            ? Task.FromResult(new HealthCheckResponse { Status = HealthCheckResponse.Types.ServingStatus.Serving })
            : throw new RpcException(new Status(StatusCode.NotFound, $"cannot tell the health of '{request.Service}': there is no such service here"));
}
