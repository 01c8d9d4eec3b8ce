#!/bin/sh
# What the tests and benchmarks need besides what building needs: a registry, servers and proxies to put before it, other
# people's image tools, a virtual machine, a C compiler for the ABI probe, what makes packages and a root
# directory to try them in.
set -eu
exec "$(dirname "$0")/install-packages.sh" acl attr busybox-static bzip2 containerd cpio curl docker-registry e2fsprogs erofs-utils faketime fish flatbuffers-compiler fuse3 gcc gnupg golang-docker-credential-helpers jq lbzip2 libc6-dev man-db mandoc microsocks mmdebstrap nginx-light \
  openssl pass pbzip2 perl pigz podman python3-prometheus-client qemu-system-x86 skopeo stargz-snapshotter tinyproxy umoci unzip util-linux xz-utils zip zsh zstd
