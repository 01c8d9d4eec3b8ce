namespace LazyMount.Cli;

/// <summary>A subject that no single command explains.</summary>
/// <param name="Name">The word that is typed after "help".</param>
/// <param name="Title">What it is about, as a phrase.</param>
/// <param name="Text">Paragraphs; lines that begin with a space are shown as they are. Null: made from the definitions.</param>
internal sealed record HelpTopic(string Name, string Title, string? Text);

/// <summary>The subjects of `lazymount help TOPIC`. The manual page lazymount(1) has them too.</summary>
internal static class HelpTopics
{
    /// <summary>The name of the topic that lists the options of all commands.</summary>
    public const string Options = "options";

    /// <summary>The name of the topic that lists all commands.</summary>
    public const string Commands = "commands";

    public static IReadOnlyList<HelpTopic> All { get; } =
    [
        new(Commands, "every command in one line", null),
        new(Options, "options that all commands accept", null),
        new("images", "how to name an image",
            """
            An IMAGE is named as docker, podman and skopeo name it:

              debian:12                               docker.io/library/debian:12
              quay.io/fedora/fedora                   tag "latest" is implied
              ghcr.io/owner/app:v1@sha256:4f53...     the digest decides
              localhost:5000/app                      a registry on this machine
              docker://NAME                           the same as NAME
              oci:DIR, oci:DIR:TAG                    an OCI image layout
              oci-archive:FILE, oci-archive:FILE:TAG  an OCI image layout in a tar file
              docker-archive:FILE                     a file of docker save
              docker-archive:FILE:app:v1              one image of it by name
              oci:DIR:@0, docker-archive:FILE:@1      an image by its number, from 0
              oci:DIR@sha256:4f53...                  an image by digest

            Archives are read in place, also when they are compressed as a whole. DIR and FILE end at the first colon. --platform OS/ARCH chooses an image from an image index [this machine's].
            """),
        new("registries", "credentials, mirrors, certificates and proxies",
            """
            lazymount reads the configuration of docker, podman and containerd.

            Credentials: --creds USER:PASS (without :PASS it is asked for), --creds-stdin, --authfile, $REGISTRY_AUTH_FILE, $DOCKER_AUTH_CONFIG, podman's auth.json, docker's config.json with credential helpers. 'docker login' and 'podman login' write these files.

            Mirrors: --mirror, containerd's certs.d/HOST/hosts.toml, podman's registries.conf.

            Certificates: --tls-ca, certs.d/HOST of docker, podman and containerd, $SSL_CERT_FILE, $SSL_CERT_DIR.

            Proxies: $HTTPS_PROXY, $HTTP_PROXY, $ALL_PROXY, $NO_PROXY, and the key "proxy" of a hosts.toml.
            """),
        new("trust", "what a digest guarantees, and --index-trust",
            """
            Every layer has a proof: who guarantees the bytes that are shown. 'lazymount layers', 'list' and 'stat' show it.

              layer       the layer's own digest
              manifest    the digest of the manifest or image index
              repository  whoever may publish in the image's repository
              source      only the server that sends the layer

            --index-trust bound uses layer and manifest only. --index-trust registry also uses repository and source. --index-trust none is bound without published indexes. --index-trust auto, the default, is bound for an image that is named by digest, and registry for an image that is named by tag over TLS or from this machine.

            mount --verify-full downloads every layer that is not proved by its own digest, and fails the mount if a layer differs from what is shown.
            """),
        new("environment", "variables and files",
            """
            LAZYMOUNT_CACHE  the cache [root: /var/cache/lazymount; other users: $XDG_CACHE_HOME/lazymount or ~/.cache/lazymount]

            LAZYMOUNT_STATE  records and logs of mounts [root: /var/lib/lazymount; other users: $XDG_STATE_HOME/lazymount or ~/.local/state/lazymount]

            COLUMNS, TERM, NO_COLOR, LS_COLORS  how text is shown on a terminal

            REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG, DOCKER_CONFIG, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR  see 'lazymount help registries'
            """),
        new("exit-codes", "what the exit code says",
            """
              0  done
              1  the command failed: not found, not readable, not verified
              2  wrong usage
              3  the image's source cannot be reached, or refuses

            diff and waste differ: 'lazymount help diff', 'lazymount help waste'. A program that is ended by a signal dies of that signal, so that a shell loop stops.
            """),
    ];
}
