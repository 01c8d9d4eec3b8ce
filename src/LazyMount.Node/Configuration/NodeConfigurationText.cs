namespace LazyMount.Node.Configuration;

/// <summary>The configuration file as it is installed: every key, with its default, as a comment.</summary>
internal static class NodeConfigurationText
{
    public const string Text = """
        # /etc/lazymount/node.toml: the configuration of lazymount-node. Every key is here with its default.
        # docs/containerd.md tells what belongs into containerd's own configuration.

        # Where containerd connects. The socket is root's alone.
        #socket = "/run/lazymount/node.sock"

        # Where snapshots are: the writable directories of containers, and the places where images are mounted. It must lie on a
        # file system that overlayfs can write to. This place is where the kubelet measures free space with containerd 1.6.
        #root = "/var/lib/containerd/io.containerd.snapshotter.v1.lazymount"

        # The lazymount program. Without this key: the one beside lazymount-node, else the one in PATH.
        #program = "/usr/bin/lazymount"

        # "text", or "json" for one object a line. Log lines go to standard error.
        #log_format = "text"
        #verbose = false

        # Serve counters for Prometheus at http://ADDRESS/metrics, on this machine only. They are on the socket too. [off]
        #metrics = "127.0.0.1:9478"

        # How long a pull waits until an image that has no published index is indexed; the ordinary pull goes on then.
        # prepare_stall is the same, when the registry sends nothing.
        #prepare_timeout = "10m"
        #prepare_stall = "20s"

        [cache]
        # Shared with all mounts and with the lazymount command.
        #directory = "/var/cache/lazymount"
        #limit = "10G"

        [registries]
        # Mirrors, certificates and credentials are read from the files of docker, podman and containerd (lazymount help registries).
        # This is the only file of credentials that is read, when it is set:
        #authfile = "/root/.docker/config.json"
        #plain_http = false
        #tls_verify = true
        #tls_ca = "/etc/ssl/registry-ca.pem"
        #mirrors = ["docker.io=https://mirror.example"]
        # Whose layer indexes are used: auto, bound, registry or none (lazymount help trust).
        #index_trust = "auto"
        # How long a program in a container waits for bytes before its read fails.
        #read_timeout = "60s"

        [cri]
        # The runtime's socket. With it, lazymount-node serves the CRI's image service on its own socket, passes all calls on, and
        # remembers the credentials of pulls, in memory. The kubelet then needs --image-service-endpoint=unix:///run/lazymount/node.sock
        # (or imageServiceEndpoint in its configuration). [off]
        #image_service = "/run/containerd/containerd.sock"

        """;
}
