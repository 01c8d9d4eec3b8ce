using LazyMount.Mounting;

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

    /// <summary>The name of the topic about mount(8).</summary>
    public const string Fstab = "fstab";

    /// <summary>The variables of the environment that count, as the topic "files" and lazymount-files(5) list them.</summary>
    public static IReadOnlyList<(string Name, string Text)> Variables =>
    [
        ("LAZYMOUNT_CACHE", "The cache [root: /var/cache/lazymount; other users: $XDG_CACHE_HOME/lazymount or ~/.cache/lazymount]"),
        ("LAZYMOUNT_STATE", "Records and logs of mounts [$XDG_STATE_HOME/lazymount; without it, root: /var/lib/lazymount, other users: ~/.local/state/lazymount]"),
        ("XDG_CACHE_HOME, XDG_STATE_HOME", "See above. A relative path is ignored. Root of a user namespace uses the directories of root where it may write to them, else those of other users"),
        ("HOME, XDG_CONFIG_HOME", "Where the files below are that begin with ~"),
        ("COLUMNS, TERM, NO_COLOR, LS_COLORS", "How text is shown on a terminal"),
        ("REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG, DOCKER_CONFIG, XDG_RUNTIME_DIR", "Where credentials are; see 'lazymount help registries'"),
        ("CONTAINERS_REGISTRIES_CONF, REGISTRIES_CONFIG_PATH", "A registries.conf of podman in place of the system's"),
        ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "Proxies"),
        ("NOTIFY_SOCKET", "Where `mount -f` tells a service manager that it is ready, or stops"),
        ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates of authorities"),
    ];

    /// <summary>The files that are read and written.</summary>
    public static IReadOnlyList<(string Name, string Text)> Files =>
    [
        ("/var/cache/lazymount, ~/.cache/lazymount", "The cache, of root and of other users: chunks of layers by digest, manifests, layer indexes and trees. Every file is verified when it is read. A directory that another user owns or may write to is refused. 'lazymount cache' shows, prunes and verifies it."),
        ("/var/lib/lazymount, ~/.local/state/lazymount", "A record, what the mount has done so far, and a log file for each mount. 'lazymount list -v' shows all three."),
        ("~/.docker/config.json, ~/.dockercfg, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json", "Credentials of registries, and names of credential helpers."),
        ("/etc/containerd/certs.d/HOST/hosts.toml, /etc/docker/certs.d/HOST/, /etc/containers/certs.d/HOST/, ~/.config/containers/certs.d/HOST/", "Mirrors, certificates of servers and of this client."),
        ("/etc/containers/registries.conf, registries.conf.d/*.conf, ~/.config/containers/registries.conf", "Mirrors and blocked registries of podman. A short name always means Docker Hub."),
        ("/dev/fuse, fusermount3", "A mount needs the device; users other than root need the program as well (Debian: fuse3). user_allow_other in /etc/fuse.conf permits -o allow_other."),
    ];

    private static string TextOf(IReadOnlyList<(string Name, string Text)> terms) => string.Join("\n\n", terms.Select(term => $"{term.Name}: {term.Text}"));

    // An expression, so that it does not matter which is made first.
    private static string MountOptionLines
        => string.Join('\n', MountOptions.Words.Select(word => $"  {word.Term,-14}  {word.Description}{(word.IsForRoot ? " (root only)" : "")}"));

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
              oci-archive:FILE, oci-archive:FILE:TAG  an OCI layout in a tar file
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
        new(Fstab, "mount(8), /etc/fstab and systemd",
            $$"""
            'mount -t lazymount IMAGE DIR' mounts an image, and so does a line of /etc/fstab:

              debian:12           /srv/debian  lazymount  _netdev,nofail        0 0
              oci:/srv/layout:v1  /srv/app     lazymount  platform=linux/arm64  0 0

            mount(8) starts mount.lazymount, which is lazymount by another name; the type fuse.lazymount means the same. The mount is read-only: rw, which mount(8) passes where ro is not given, is ignored. Paths must be absolute. A directory that shows the image already stays as it is, so 'mount -a' can be repeated. With remount, only exec, suid and dev can be changed.

            These options are also those of 'lazymount mount -o':

            {{MountOptionLines}}

            All long options of 'lazymount mount' are options of mount(8) without their dashes, such as platform=linux/arm64, plain-http, prefetch=/usr/lib, as=fuse. Those for credentials are not: use authfile=FILE. Quote values with commas: prefetch="/a,b". Generic words that mean nothing to an image are ignored: auto, nofail, _netdev, user, x-*, comment=, noatime, async and their like.

            The documentation has example units of systemd.
            """),
        new("files", "variables and files", $"Variables:\n\n{TextOf(Variables)}\n\nFiles:\n\n{TextOf(Files)}"),
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
