#!/bin/bash
# Runs the program of an arm64 .deb by qemu's user mode emulation, with the libraries of an arm64 Debian, and compares it with this
# machine's program: what both read of scripts/make-sample-image.sh's image, and a mount. That is no test on an arm64 machine. Root.
#
#   scripts/package --arch arm64 && scripts/try-arm64.sh artifacts/packages/lazymount_*_arm64.deb
#
# DEBIAN_MIRROR: where packages come from [http://deb.debian.org/debian].
set -euo pipefail
cd "$(dirname "$0")/.."
file=$(realpath "${1:?usage: scripts/try-arm64.sh FILE}")
[ "$(id -u)" -eq 0 ] || { echo "The mount needs root." >&2; exit 1; }
scripts/install-build.sh
scripts/install-packages.sh mmdebstrap qemu-user-static util-linux

# Its own mount and process namespaces: what is mounted and started here ends with it.
if [ -z "${LAZYMOUNT_INSIDE:-}" ]; then
  LAZYMOUNT_INSIDE=1 exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
fi

root=$PWD/artifacts/roots/arm64
if ! [ -e "$root" ]; then
  echo "Fetching libraries of Debian's bookworm for arm64"
  mkdir -p "$root.new"
  mmdebstrap --quiet --variant=extract --arch=arm64 --include=libc6,libssl3 bookworm "$root.tar" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
  tar -x -f "$root.tar" -C "$root.new" --no-same-owner --wildcards './lib*' './usr/lib*'
  rm "$root.tar"
  mv "$root.new" "$root"
fi
scripts/make-sample-image.sh artifacts/sample
scripts/build.sh

work=$(mktemp -d)
trap 'umount --lazy "$work/mnt" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
mkdir "$work/mnt"
dpkg-deb --extract "$file" "$work/deb"
here() { LAZYMOUNT_CACHE=$work/here artifacts/bin/lazymount "$@"; }
there() { LAZYMOUNT_CACHE=$work/there LAZYMOUNT_STATE=$work/state qemu-aarch64-static -L "$root" "$work/deb/usr/bin/lazymount" "$@"; }

there --version
for command in 'ls -lR' 'find' 'du' 'layers --json' 'export'; do
  # shellcheck disable=SC2086 # a command and its options
  cmp <(here $command oci:artifacts/sample:sample) <(there $command oci:artifacts/sample:sample) ||
    { echo "'lazymount $command' differs on arm64." >&2; exit 1; }
done
# In front: the background process would be started without the emulator.
there mount -f --as fuse oci:artifacts/sample:sample "$work/mnt" 2>"$work/log" &
for _ in $(seq 100); do
  ! mountpoint -q "$work/mnt" || break
  sleep 0.1
done
here unpack oci:artifacts/sample:sample "$work/unpacked"
diff -r --no-dereference "$work/unpacked" "$work/mnt" || { cat "$work/log" >&2; exit 1; }
umount "$work/mnt"
wait $! || { cat "$work/log" >&2; exit 1; }
echo "${file##*/} reads and mounts the sample image under emulation"
