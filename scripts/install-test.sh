#!/bin/sh
# What the tests and benchmarks need besides what building needs: a registry, servers and proxies to put before it, other
# people's image tools, a virtual machine, a C compiler for the ABI probe, what makes packages and a root
# directory to try them in; a browser, and what drives network drives.
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh acl attr busybox-static bzip2 cadaver chromium containerd cpio curl docker-registry e2fsprogs erofs-utils faketime fish flatbuffers-compiler fuse3 gcc gnupg golang-docker-credential-helpers jq lbzip2 libc6-dev man-db mandoc microsocks mmdebstrap nginx-light \
  openssl pass pbzip2 perl pigz podman python3-prometheus-client qemu-system-x86 rclone skopeo stargz-snapshotter tinyproxy umoci unzip util-linux xz-utils zip zsh zstd

# What finds barriers in pages.
axe=4.14.1
if ! grep -qs "\"version\": \"$axe\"" artifacts/npm/axe-core/package.json; then
  command -v npm >/dev/null || scripts/install-packages.sh npm
  rm -rf artifacts/npm
  mkdir -p artifacts/npm/axe-core
  npm pack --silent --pack-destination artifacts/npm "axe-core@$axe" >/dev/null
  tar -x -z -f "artifacts/npm/axe-core-$axe.tgz" -C artifacts/npm/axe-core --strip-components=1
fi
