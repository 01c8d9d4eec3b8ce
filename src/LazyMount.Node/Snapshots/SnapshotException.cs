using Grpc.Core;

namespace LazyMount.Node.Snapshots;

/// <summary>A request that cannot be done, with what containerd is told.</summary>
/// <param name="code">The meaning, of which containerd makes its own errors.</param>
/// <param name="message">One sentence.</param>
/// <param name="inner">The cause.</param>
internal sealed class SnapshotException(StatusCode code, string message, Exception? inner = null) : Exception(message, inner)
{
    public StatusCode Code { get; } = code;

    public static SnapshotException NotFound(string name) => new(StatusCode.NotFound, $"cannot find the snapshot '{name}': there is none of that name");

    public static SnapshotException Exists(string name) => new(StatusCode.AlreadyExists, $"cannot make the snapshot '{name}': there is one of that name");

    public static SnapshotException Invalid(string message) => new(StatusCode.InvalidArgument, message);
}
