#!/bin/bash
# Makes the image that the benchmarks use, as an OCI layout: a Debian root, an npm tree of at least 60,000 files, and a
# small layer that changes both. Plain gzip -6 layers, as docker and buildah push them.
#
#   scripts/make-bench-images.sh [DIR]     DIR: $BENCH_DIR, else ~/.cache/lazymount-bench; the image is DIR/layout:bench
set -euo pipefail
cd "$(dirname "$0")"

dir=${1:-${BENCH_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lazymount-bench}}
layout=$dir/layout
if [ -e "$layout/index.json" ]; then
  echo "The benchmark image is there: oci:$layout:bench"
  exit 0
fi
[ "$(id -u)" -eq 0 ] || { echo "Making a Debian root needs root; run this with sudo and BENCH_DIR set." >&2; exit 1; }
./install-packages.sh debootstrap jq gzip
command -v npm >/dev/null || ./install-packages.sh npm

mkdir -p "$dir"
work=$(mktemp -d "$dir/make.XXXXXX")
trap 'rm -rf "$work"' EXIT

# One layer out of a directory: sorted, so that the same files give the same tar.
pack_layer() { # NAME DIRECTORY TAR-ARGUMENTS...
  local name=$1 directory=$2
  shift 2
  tar --create --sort=name --format=pax --pax-option=delete=atime,delete=ctime --numeric-owner \
      --directory="$directory" "$@" . |
    tee >(sha256sum | cut -d' ' -f1 >"$work/$name.diffid") |
    gzip -6 -n >"$work/$name.tar.gz"
}

echo "Debian root (debootstrap) and npm tree (npm install): a few minutes"
mkdir "$work/npm" "$work/staging"
cp bench-image/package.json "$work/npm/"
(cd "$work/npm" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error >"$work/npm.log" 2>&1) &
npm_install=$!
debootstrap --variant=minbase --include=ca-certificates,curl,git,less,nodejs,perl,procps,python3,vim-tiny \
  bookworm "$work/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
  { tail "$work/debootstrap.log" >&2; exit 1; }
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work"/root/proc/* "$work"/root/sys/*
wait "$npm_install" || { tail "$work/npm.log" >&2; exit 1; }
mkdir -p "$work/app/srv/app"
mv "$work/npm/node_modules" "$work/npm/package.json" "$work/app/srv/app/"
chown -R 0:0 "$work/app"
files=$(find "$work/app" -type f | wc -l)
[ "$files" -ge 60000 ] || { echo "The npm tree has only $files files; the benchmark wants 60,000." >&2; exit 1; }

# The last layer is what a small change to an application looks like: a file replaced, one removed, a few added.
mkdir -p "$work/change/srv/app/src" "$work/change/usr/share/doc"
printf '{ "built": true }\n' >"$work/change/srv/app/package.json"
touch "$work/change/srv/app/node_modules.lock" "$work/change/usr/share/doc/.wh.git"
for i in $(seq 100); do printf 'export const value%d = %d;\n' "$i" "$i" >"$work/change/srv/app/src/module$i.js"; done

echo "Packing the layers"
pack_layer debian "$work/root" &
debian=$!
pack_layer npm "$work/app" --mtime=@1700000000
pack_layer change "$work/change" --mtime=@1700000000
wait "$debian"

blobs=$work/layout/blobs/sha256
mkdir -p "$blobs"
add_blob() { # FILE MEDIA-TYPE: moves the file in, prints its descriptor
  local digest size
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
  jq -nc --arg type "$2" --arg digest "sha256:$digest" --argjson size "$size" '{mediaType: $type, digest: $digest, size: $size}'
}
for name in debian npm change; do
  add_blob "$work/$name.tar.gz" application/vnd.oci.image.layer.v1.tar+gzip >>"$work/layers"
done
case $(uname -m) in aarch64) architecture=arm64 ;; *) architecture=amd64 ;; esac
jq -nc --arg architecture "$architecture" --rawfile d "$work/debian.diffid" --rawfile n "$work/npm.diffid" --rawfile c "$work/change.diffid" \
  '{architecture: $architecture, os: "linux", config: {Cmd: ["/bin/sh"], WorkingDir: "/srv/app"},
    rootfs: {type: "layers", diff_ids: ([$d, $n, $c] | map("sha256:" + rtrimstr("\n")))}}' >"$work/config"
config=$(add_blob "$work/config" application/vnd.oci.image.config.v1+json)
jq -sc --argjson config "$config" \
  '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: $config, layers: .}' <"$work/layers" >"$work/manifest"
manifest=$(add_blob "$work/manifest" application/vnd.oci.image.manifest.v1+json)
jq -c '{schemaVersion: 2, manifests: [. + {annotations: {"org.opencontainers.image.ref.name": "bench"}}]}' <<<"$manifest" >"$work/layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}\n' >"$work/layout/oci-layout"
rm -rf "$layout"
mv "$work/layout" "$layout"
echo "Made oci:$layout:bench, $files npm files, layers of $(jq -s 'map(.size / 1e6 | round | tostring + " MB") | join(", ")' -r "$work/layers")"
