#!/bin/bash
# Makes a small but real image as an OCI layout, DIR:sample, out of Debian packages. Its last layer holds what layers
# are about: a whiteout, an opaque directory, a hard link and a symlink.
#
#   scripts/make-sample-image.sh DIR [PACKAGE...]     one layer for each package
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 DIR [PACKAGE...]" >&2; exit 2; }
layout=$1
packages=${*:2}
packages=${packages:-base-files coreutils perl-base tzdata}
if [ -e "$layout/index.json" ]; then
  exit 0
fi
"$scripts/install-packages.sh" umoci
mkdir -p "$(dirname "$layout")"
work=$(mktemp -d "$(dirname "$layout")/sample.XXXXXX")
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2086 # a list of package names
download() { (cd "$work" && apt-get download -q $packages) >"$work/apt.log" 2>&1; }
if ! download; then
  # A fresh machine has no package lists.
  if [ "$(id -u)" -eq 0 ]; then apt-get update -q; else sudo apt-get update -q; fi >"$work/update.log" 2>&1 || true
  download || { tail -n 5 "$work/apt.log" >&2; echo "apt-get could not download $packages." >&2; exit 1; }
fi

umoci init --layout "$work/image"
umoci new --image "$work/image:sample"
add_layer() { umoci raw add-layer --image "$work/image:sample" --history.created_by "$2" "$1"; }

for package in $packages; do
  dpkg-deb --fsys-tarfile "$work/$package"_*.deb >"$work/layer.tar"
  add_layer "$work/layer.tar" "$package from Debian"
done

change=$work/change
mkdir -p "$change/usr/share/doc/coreutils" "$change/usr/share/zoneinfo/Europe" "$change/etc" "$change/srv"
touch "$change/usr/share/doc/.wh.tzdata"                   # a whiteout: the directory is gone
touch "$change/usr/share/zoneinfo/Europe/.wh..wh..opq"     # opaque: nothing from below shows in Europe
echo "Only this is left of Europe." >"$change/usr/share/zoneinfo/Europe/README"
echo "A file with two names." >"$change/srv/first"
ln "$change/srv/first" "$change/srv/second"
ln -s ../usr/share/zoneinfo/Etc/UTC "$change/etc/localtime"
echo "replaced by a file" >"$change/usr/share/doc/perl-base" # was a directory
tar --create --file="$work/layer.tar" --directory="$change" --sort=name --owner=0 --group=0 --numeric-owner \
  --mode=u=rwX,go=rX --mtime=@1700000000 .
add_layer "$work/layer.tar" "whiteout, opaque directory, links"

umoci gc --layout "$work/image"
chmod 755 "$work/image"
rm -rf "$layout"
mv "$work/image" "$layout"
