#!/bin/bash
# Installs a .deb or a tarball of scripts/package in a clean Debian (mmdebstrap's minbase, fetched once) and runs the session of
# README.md there, as root and as an ordinary user with fusermount3. Root.
#
#   scripts/try-package.sh RELEASE FILE     bullseye, bookworm …
#
# TLS_IMAGE, TLS_CA: an image that is reachable from this host by TLS, and who vouches for its server; its root is listed too.
# DEBIAN_MIRROR: where packages come from [http://deb.debian.org/debian].
set -euo pipefail
cd "$(dirname "$0")/.."
release=${1:?usage: scripts/try-package.sh RELEASE FILE}
file=$(realpath "${2:?usage: scripts/try-package.sh RELEASE FILE}")
[ "$(id -u)" -eq 0 ] || { echo "A root directory of its own needs root." >&2; exit 1; }
scripts/install-packages.sh mmdebstrap util-linux

# Its own mount and process namespaces: what is mounted and started here ends with it.
if [ -z "${LAZYMOUNT_INSIDE:-}" ]; then
  LAZYMOUNT_INSIDE=1 exec unshare --mount --propagation private --pid --fork --kill-child "$0" "$@"
fi

# In memory, where dpkg's many fsync cost nothing. It ends with the namespace.
memory=$(mktemp -d)
clean_up() {
  umount --lazy "$memory"
  rmdir "$memory"
}
mount -t tmpfs -o size=2g,mode=755 tmpfs "$memory"
trap clean_up EXIT

roots=$PWD/artifacts/roots
mkdir -p "$roots/archives"
if ! [ -e "$roots/$release.tar" ]; then
  echo "Fetching Debian's $release"
  TMPDIR=$memory mmdebstrap --quiet --variant=minbase "$release" "$roots/$release.$$.tar" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
  mv "$roots/$release.$$.tar" "$roots/$release.tar"
fi
scripts/make-sample-image.sh artifacts/sample

root=$memory/root
mkdir "$root"
tar -x --warning=no-timestamp -f "$roots/$release.tar" -C "$root"
mount -t proc proc "$root/proc"
mount --bind "$roots/archives" "$root/var/cache/apt/archives"
cp /etc/resolv.conf "$root/etc/"
# As udev and Debian's installer leave them.
mknod -m 666 "$root/dev/fuse" c 10 229
ln -sf ../proc/self/mounts "$root/etc/mtab"
for home in root home/u; do
  mkdir -p "$root/$home/mnt"
  cp -r artifacts/sample "$root/$home/sample"
done
echo "u:x:1000:1000::/home/u:/bin/sh" >>"$root/etc/passwd"
chroot "$root" chown -R 1000:1000 /home/u
cp README.md scripts/run-session.pl "$root/srv/"
cp "$file" "$root/srv/${file##*/}"
[ -z "${TLS_CA:-}" ] || cp "$TLS_CA" "$root/srv/ca.crt"

clean=(env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive)
inside() { "${clean[@]}" HOME=/root chroot "$root" "$@"; }
as_user() { "${clean[@]}" HOME=/home/u chroot "$root" setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }
apt() { # quiet; package lists may have become old
  inside apt-get "$@" >"$root/srv/log" 2>&1 || { inside apt-get update && inside apt-get "$@"; } >"$root/srv/log" 2>&1 || { cat "$root/srv/log" >&2; exit 1; }
}
expect() { # WORDS COMMAND...: it fails, with that in its only line
  local words=$1 said
  shift
  ! said=$("$@" 2>&1) || { echo "$* did not fail: $said" >&2; exit 1; }
  [[ $said == lazymount:*"$words"* && $said != *$'\n'* ]] || { echo "$* said: $said" >&2; exit 1; }
}
session() { # WHO COMMAND...: runs README.md's as that command lets it
  local who=$1 said
  shift
  said=$("$@" sh -c 'cd && exec perl /srv/run-session.pl /srv/README.md') || { echo "As $who:"$'\n'"$said" >&2; exit 1; }
  echo "As $who: $said"
}

echo "Debian $(cat "$root/etc/debian_version"), $(chroot "$root" /lib/*-linux-gnu*/libc.so.6 2>/dev/null | head -n 1 || chroot "$root" ldd --version | head -n 1)"
case $file in
  *.deb) apt install -y --no-install-recommends "/srv/${file##*/}" ;;
  *.tar.gz)
    inside tar -x -z -f "/srv/${file##*/}" -C /usr/local --strip-components=1 --no-same-owner
    # Debian 11's smallest has libssl1.1.
    if ! find "$root/usr/lib" -name 'libssl.so.*' | grep -q .; then
      expect 'OpenSSL is not installed' as_user sh -c 'cd && lazymount ls oci:sample:sample /'
      apt install -y libssl3
    fi
    ;;
esac
inside lazymount --version
session root inside
expect 'fusermount3' as_user sh -c 'cd && exec lazymount mount oci:sample:sample mnt'
apt install -y --no-install-recommends fuse3
session "a user" as_user
if [ -n "${TLS_IMAGE:-}" ]; then
  expect 'is not trusted' inside lazymount ls "$TLS_IMAGE"
  inside lazymount ls --tls-ca /srv/ca.crt "$TLS_IMAGE" >/dev/null
  echo "TLS: trusted with its authority only"
fi
case $file in
  *.deb)
    inside dpkg --verify lazymount
    apt purge -y lazymount
    ! find "$root" -xdev \( -path "$root/srv" -o -path "$root/home" -o -path "$root/var/log" \) -prune -o -iname '*lazymount*' -print | grep . >&2 || { echo "The package has left that behind." >&2; exit 1; }
    ;;
esac
echo "${file##*/} works on $release"
