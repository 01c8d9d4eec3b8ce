#!/bin/bash
# How long it takes from nothing to the first line that a container writes: containerd's own pull and run, and lazymount-node. Root; a private containerd and registry on
# this machine; nothing else of it is touched.
#
#   scripts/bench-node.sh [RUNS] [DIRECTORY...]     3 runs; the image is busybox and a layer for each directory [/usr/share/dotnet /usr/lib/gcc /usr/share/doc]
#
# The link of scripts/bench-link.sh: REGISTRY=HOST:PORT (then everything runs where that is reachable).
# LAZYMOUNT_BINARY, LAZYMOUNT_NODE_BINARY: what is measured [what scripts/build.sh makes].
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-3}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- /usr/share/dotnet /usr/lib/gcc /usr/share/doc
lazymount=${LAZYMOUNT_BINARY:-$PWD/artifacts/bin/lazymount}
node=${LAZYMOUNT_NODE_BINARY:-$PWD/artifacts/bin/lazymount-node}
[ -x "$lazymount" ] && [ -x "$node" ] || scripts/build.sh lazymount lazymount-node
scripts/install-packages.sh busybox-static containerd docker-registry runc skopeo stargz-snapshotter umoci

work=$(mktemp -d)
port=${PORT:-5211}
registry=${REGISTRY:-127.0.0.1:$port}
processes=()
stop() {
  for process in "${processes[@]}"; do kill -9 "$process" 2>/dev/null || true; done
  processes=()
  sed -n "s#^[^ ]* \($work[^ ]*\) .*#\1#p" /proc/mounts | tac | xargs -r -n 1 umount --lazy || true
}
trap 'stop; [ -z "${registry_process:-}" ] || kill "$registry_process"; rm -rf --one-file-system "$work"' EXIT

echo "Making the image" >&2
mkdir -p "$work/base/bin" "$work/base/proc" "$work/base/sys" "$work/base/dev"
cp /usr/bin/busybox "$work/base/bin/"
for applet in sh echo cat; do ln -s busybox "$work/base/bin/$applet"; done
umoci init --layout "$work/image"
umoci new --image "$work/image:v1"
tar -C "$work/base" -cf "$work/layer.tar" .
umoci raw add-layer --image "$work/image:v1" "$work/layer.tar"
for directory in "$@"; do
  tar -C / --warning=none -cf "$work/layer.tar" "${directory#/}" || true
  umoci raw add-layer --image "$work/image:v1" "$work/layer.tar"
done
rm "$work/layer.tar"
if [ -z "${REGISTRY:-}" ]; then
  cat >"$work/registry.yml" <<CONFIG
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $work/storage } }
http: { addr: "$registry" }
CONFIG
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry_process=$!
  sleep 1
fi
skopeo copy --quiet --dest-tls-verify=false "oci:$work/image:v1" "docker://$registry/bench:v1"
skopeo copy --quiet --dest-tls-verify=false "oci:$work/image:v1" "docker://$registry/indexed:v1"
LAZYMOUNT_CACHE=$work/push LAZYMOUNT_STATE=$work/state "$lazymount" index push --plain-http "$registry/indexed:v1" >/dev/null
rm -rf "$work/push"
echo "The image has $(du -s -B1000000 "$work/image/blobs" | cut -f1) MB in $(($# + 1)) layers"

start() { # a fresh containerd and lazymount-node
  stop
  rm -rf --one-file-system "$work/cd" "$work/run" "$work/node" "$work/cache" "$work/node.sock"
  sync
  cat >"$work/node.toml" <<CONFIG
socket = "$work/node.sock"
root = "$work/node"
program = "$lazymount"
[cache]
directory = "$work/cache"
[registries]
plain_http = true
CONFIG
  cat >"$work/containerd.toml" <<CONFIG
version = 2
root = "$work/cd"
state = "$work/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/containerd.sock"
[ttrpc]
  address = "$work/ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$work/opt"
[proxy_plugins]
  [proxy_plugins.lazymount]
    type = "snapshot"
    address = "$work/node.sock"
CONFIG
  LAZYMOUNT_STATE=$work/state "$node" serve --config "$work/node.toml" >"$work/node.log" 2>&1 &
  processes+=($!)
  until [ -S "$work/node.sock" ]; do sleep 0.05; done
  containerd --config "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
  processes+=($!)
  until ctr --address "$work/containerd.sock" version >/dev/null 2>&1; do sleep 0.05; done
}
measure() { # NAME COMMAND...
  local name=$1 times=() run began
  shift
  for ((run = 0; run < runs; run++)); do
    start
    began=$(date +%s%N)
    "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2; exit 1; }
    times+=("$(( ($(date +%s%N) - began) / 1000000 ))")
    grep -q first "$work/output"
  done
  echo "$name: $(printf '%s\n' "${times[@]}" | sort -n | sed -n "$(((runs + 1) / 2))p") ms"
}
ordinary() {
  ctr --address "$work/containerd.sock" images pull --plain-http "$registry/bench:v1"
  ctr --address "$work/containerd.sock" run --rm "$registry/bench:v1" one /bin/echo first
}
lazily() {
  ctr-remote --address "$work/containerd.sock" images rpull --plain-http --snapshotter lazymount "$registry/$1:v1"
  ctr --address "$work/containerd.sock" run --rm --snapshotter lazymount "$registry/$1:v1" one /bin/echo first
}
measure "containerd, overlayfs: pull and run" ordinary
measure "lazymount-node, nothing published" lazily bench
measure "lazymount-node, index published" lazily indexed
