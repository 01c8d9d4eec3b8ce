using System.Text.Json;
using Grpc.Core;
using LazyMount.Blobs.Images;
using LazyMount.Node.Configuration;
using LazyMount.Node.Credentials;
using LazyMount.Node.Protos;
using LazyMount.Node.Snapshots;
using Microsoft.Extensions.Logging;

namespace LazyMount.Node.Volumes;

/// <summary>What the CSI driver is called.</summary>
internal static class CsiDriver
{
    public const string Name = "csi.lazymount";
}

/// <summary>CSI's Identity service.</summary>
internal sealed class CsiIdentityEndpoint : Identity.IdentityBase
{
    public override Task<GetPluginInfoResponse> GetPluginInfo(GetPluginInfoRequest request, ServerCallContext context)
        => Task.FromResult(new GetPluginInfoResponse { Name = CsiDriver.Name, VendorVersion = typeof(CsiIdentityEndpoint).Assembly.GetName().Version!.ToString(3) });

    public override Task<GetPluginCapabilitiesResponse> GetPluginCapabilities(GetPluginCapabilitiesRequest request, ServerCallContext context) => Task.FromResult(new GetPluginCapabilitiesResponse());

    public override Task<ProbeResponse> Probe(ProbeRequest request, ServerCallContext context) => Task.FromResult(new ProbeResponse { Ready = true });
}

/// <summary>The kubelet's registration of plugins: the kubelet finds the socket, and asks.</summary>
internal sealed class RegistrationEndpoint(NodeConfiguration configuration, ILogger<RegistrationEndpoint> logger) : Registration.RegistrationBase
{
    public override Task<PluginInfo> GetInfo(InfoRequest request, ServerCallContext context)
    {
        var info = new PluginInfo { Type = "CSIPlugin", Name = CsiDriver.Name, Endpoint = configuration.CsiSocket };
        info.SupportedVersions.Add("1.0.0");
        return Task.FromResult(info);
    }

    public override Task<RegistrationStatusResponse> NotifyRegistrationStatus(RegistrationStatus request, ServerCallContext context)
    {
        if (!request.PluginRegistered)
        {
            logger.Noted($"the kubelet does not register the CSI driver: {request.Error}");
        }
        return Task.FromResult(new RegistrationStatusResponse());
    }
}

/// <summary>CSI's Node service: checks of what comes, and <see cref="ImageVolumes"/>.</summary>
internal sealed class CsiNodeEndpoint(NodeConfiguration configuration, ImageVolumes volumes, PullCredentials credentials, ILogger<CsiNodeEndpoint> logger) : Protos.Node.NodeBase
{
    private const int LongestPath = 4096;

    // Access modes that several nodes, or containers of several nodes, write by.
    private const int MultiNodeSingleWriter = 4, MultiNodeMultiWriter = 5;

    public override Task<NodePublishVolumeResponse> NodePublishVolume(NodePublishVolumeRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        Require(request.VolumeId.Length > 0, "a volume needs an id");
        string target = TargetOf(request.TargetPath);
        Require(request.VolumeCapability is not null, "a volume needs a capability");
        Require(request.VolumeCapability!.AccessTypeCase != VolumeCapability.AccessTypeOneofCase.Block, "an image is no block device");
        Require((request.VolumeCapability.Mount?.MountFlags ?? []).All(flag => flag == "ro"), "an image takes no mount options but ro");
        bool isWritable = request.VolumeContext.GetValueOrDefault("writable") switch
        {
            null or "" or "false" => false,
            "true" => !request.Readonly,
            _ => throw SnapshotException.Invalid("cannot publish the volume: the attribute writable is neither true nor false"),
        };
        Require(!isWritable || request.VolumeCapability.AccessMode?.Mode is not (MultiNodeSingleWriter or MultiNodeMultiWriter), "what is written to an image stays on one node");
        // An inline volume has its image as an attribute; a persistent one may have it as its handle.
        string image = request.VolumeContext.GetValueOrDefault("image") is { Length: > 0 } named ? named : request.VolumeId;
        ImageReference reference = RemoteRequest.TryParse(image) ?? throw SnapshotException.Invalid($"cannot publish the volume: '{image}' is not the reference of an image in a registry; set the attribute image");
        if (request.Secrets.GetValueOrDefault(".dockerconfigjson") is { } accounts)
        {
            credentials.Remember(reference, AccountFor(reference, accounts));
        }
        await volumes.PublishAsync(target, reference, isWritable, context.CancellationToken);
        return new NodePublishVolumeResponse();
    });

    public override Task<NodeUnpublishVolumeResponse> NodeUnpublishVolume(NodeUnpublishVolumeRequest request, ServerCallContext context) => AnswerAsync(async () =>
    {
        Require(request.VolumeId.Length > 0, "a volume needs an id");
        await volumes.UnpublishAsync(TargetOf(request.TargetPath), context.CancellationToken);
        return new NodeUnpublishVolumeResponse();
    });

    public override Task<NodeGetVolumeStatsResponse> NodeGetVolumeStats(NodeGetVolumeStatsRequest request, ServerCallContext context) => AnswerAsync(() =>
    {
        Require(request.VolumeId.Length > 0, "a volume needs an id");
        string path = TargetOf(request.VolumePath);
        if (!volumes.IsPublished(path) || Interop.UsageOf(path) is not { } usage)
        {
            throw new SnapshotException(StatusCode.NotFound, $"cannot tell the usage of '{path}': no volume is published there");
        }
        var response = new NodeGetVolumeStatsResponse();
        response.Usage.Add(new VolumeUsage { Unit = VolumeUsage.Types.Unit.Bytes, Total = usage.Bytes, Used = usage.Bytes - usage.FreeBytes, Available = usage.FreeBytes });
        response.Usage.Add(new VolumeUsage { Unit = VolumeUsage.Types.Unit.Inodes, Total = usage.Files, Used = usage.Files - usage.FreeFiles, Available = usage.FreeFiles });
        return Task.FromResult(response);
    });

    public override Task<NodeGetCapabilitiesResponse> NodeGetCapabilities(NodeGetCapabilitiesRequest request, ServerCallContext context)
    {
        var response = new NodeGetCapabilitiesResponse();
        response.Capabilities.Add(new NodeServiceCapability { Rpc = new NodeServiceCapability.Types.RPC { Type = NodeServiceCapability.Types.RPC.Types.Type.GetVolumeStats } });
        return Task.FromResult(response);
    }

    public override Task<NodeGetInfoResponse> NodeGetInfo(NodeGetInfoRequest request, ServerCallContext context) => Task.FromResult(new NodeGetInfoResponse { NodeId = configuration.NodeId });

    // Nothing outside of the kubelet's directory is mounted on or removed, whatever the path says.
    private string TargetOf(string path)
    {
        Require(path.Length is > 0 and <= LongestPath && Path.IsPathRooted(path) && !path.Contains('\0', StringComparison.Ordinal), "a volume needs an absolute path");
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        Require(full.StartsWith(configuration.KubeletDirectory + "/", StringComparison.Ordinal), $"'{path}' is not below the kubelet's directory '{configuration.KubeletDirectory}' (csi.kubelet_dir)");
        return full;
    }

    private static Blobs.Registry.Accounts.Credentials? AccountFor(ImageReference reference, string accounts)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(accounts);
            foreach (JsonProperty account in document.RootElement.GetProperty("auths").EnumerateObject())
            {
                string host = account.Name.Contains("://", StringComparison.Ordinal) ? account.Name.Split("://")[1].Split('/')[0] : account.Name.Split('/')[0];
                if (RemoteRequest.TryParse($"{host}/any/image")?.Location != reference.Location)
                {
                    continue;
                }
                string Text(string key) => account.Value.TryGetProperty(key, out JsonElement value) ? value.GetString() ?? "" : "";
                return Text("username") is { Length: > 0 } user ? new(user, Text("password")) : Blobs.Registry.Accounts.Credentials.Parse(System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(Text("auth"))));
            }
            return null;
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException or KeyNotFoundException)
        {
            throw new SnapshotException(StatusCode.InvalidArgument, "cannot publish the volume: the secret is not one of type kubernetes.io/dockerconfigjson", e);
        }
    }

    private static void Require(bool isTrue, string sentence)
    {
        if (!isTrue)
        {
            throw SnapshotException.Invalid($"cannot use the volume: {sentence}");
        }
    }

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
#pragma warning disable CA1031 // One request must not end the service.
        catch (Exception e) when (e is not (RpcException or OperationCanceledException))
#pragma warning restore CA1031
        {
            logger.RequestFailed(e, e.Message);
            throw new RpcException(new Status(StatusCode.Internal, e is IOException or UnauthorizedAccessException ? e.Message : "an error in lazymount-node; see its log"));
        }
    }
}
