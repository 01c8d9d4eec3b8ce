#!/bin/bash
# Measures what is fetched of the benchmark image, and how long that takes, on loopback and over a link of 20 ms and
# 200 Mbit/s (bench-link.sh): all in one run, side by side, requests and bytes as the server counted them. Root.
#
#   scripts/bench-lazy.sh [RUNS]     default 3; every figure is the median of as many runs; prints lines of a Markdown table
#
# BENCH_DIR: where the image is and trees are unpacked to (see make-bench-images.sh). SCENARIOS: a regular expression of
# those to run. DIRECTORY: the one of a thousand small files, LARGE: a large file, both without the first slash.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-3}
export BENCH_DIR=${BENCH_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lazymount-bench}
[ "$(id -u)" -eq 0 ] || { echo "Network namespaces need root." >&2; exit 1; }
scripts/make-bench-images.sh >&2
lazymount=${LAZYMOUNT_BINARY:-$PWD/artifacts/bin/lazymount}
[ -x "$lazymount" ] || scripts/build.sh
scripts/bench-link.sh up >&2
link=fast
on() { scripts/bench-link.sh run "$link" "$@"; }

work=$(mktemp -d "$BENCH_DIR/run.XXXXXX")
mnt=$work/mnt
mkdir "$mnt"
cleanup() {
  { "$lazymount" umount "$mnt" || umount --lazy "$mnt"; } >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
export LAZYMOUNT_CACHE=$work/cache LAZYMOUNT_STATE=$work/state

fast=$(scripts/bench-link.sh registry)
push() { skopeo copy --quiet --dest-tls-verify=false "oci:$BENCH_DIR/layout:bench" "docker://$fast/$1:latest"; }
push plain
push indexed
push soci
"$lazymount" index push --plain-http --json "$fast/indexed:latest" >"$work/published.json"
"$lazymount" index push --plain-http --json --format soci "$fast/soci:latest" >"$work/soci.json"
for kind in published soci; do
  jq -r --arg kind "$kind" '"| size of the index, \($kind) | \(.indexSize) bytes of \(.compressedSize) | \(.indexSize / .compressedSize * 10000 | round / 100) % |"' "$work/$kind.json"
done

measure() { # NAME COMMAND...: notes wall time, requests and bytes; a command that fails ends the run
  local name=$1 mark begin end
  shift
  mark=$(scripts/bench-link.sh mark "$link")
  begin=$(date +%s%N)
  "$@" >/dev/null || { echo "$* failed" >&2; exit 1; }
  end=$(date +%s%N)
  echo "$(awk -v ns=$((end - begin)) 'BEGIN {printf "%.3f", ns / 1e9}') $(scripts/bench-link.sh bytes "$link" "$mark")" >>"$work/$name.$link"
  echo "$name.$link $(tail -n 1 "$work/$name.$link")" >&2
}
column() { cut -d' ' -f"$1" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
wanted() { [[ $1 =~ ^(${SCENARIOS:-.*})$ ]]; }
lm() { on "$lazymount" "$@" --plain-http; }
fresh() { rm -rf "$LAZYMOUNT_CACHE" "$work/copy" "$work/unpacked"; }

mount_and_ls() { lm mount "$1" "$mnt" && ls "$mnt"; }
skopeo_copy() { on skopeo copy --quiet --src-tls-verify=false "docker://$host/plain:latest" "oci:$work/copy:bench"; }
skopeo_umoci() { skopeo_copy && umoci unpack --image "$work/copy:bench" "$work/unpacked"; }
read_files() { find "$1" -type f -exec cat {} +; }
read_all() { tar cf - -C "$mnt" . | cat >/dev/null; }
export_tar() { lm export "$host/$1:latest" | cat >/dev/null; }

directory=${DIRECTORY:-srv/app/node_modules/lodash}
large=${LARGE:-usr/lib/x86_64-linux-gnu/libnode.so.108}
for run in $(seq "$runs"); do
  for link in fast slow; do
    echo "Run $run of $runs, $link: $(uptime)" >&2
    if [ $link = slow ]; then host=$(scripts/bench-link.sh registry slow); else host=$fast; fi
    for what in indexed plain; do
      if wanted "open-$what"; then
        fresh; measure "mount-$what" mount_and_ls "$host/$what:latest"; "$lazymount" umount "$mnt"
        fresh; measure "cat-$what" lm cat "$host/$what:latest" /etc/os-release
      fi
    done
    if wanted directory; then
      fresh; lm mount "$host/indexed:latest" "$mnt"; measure directory read_files "$mnt/$directory"; "$lazymount" umount "$mnt"
    fi
    if wanted large; then
      fresh; lm mount "$host/indexed:latest" "$mnt"; measure large cat "$mnt/$large"; "$lazymount" umount "$mnt"
    fi
    if wanted everything; then
      fresh; lm mount "$host/indexed:latest" "$mnt"; measure everything read_all; "$lazymount" umount "$mnt"
    fi
    if wanted pull; then
      fresh; measure skopeo-copy skopeo_copy
      fresh; measure pull lm pull "$host/indexed:latest"
      fresh; measure pull-layout lm pull "$host/indexed:latest" "oci:$work/copy:bench"
    fi
    if wanted unpack; then
      fresh; measure skopeo-umoci skopeo_umoci
      fresh; measure unpack-plain lm unpack "$host/plain:latest" "$work/unpacked"
      fresh; measure unpack-indexed lm unpack "$host/indexed:latest" "$work/unpacked"
      fresh; measure export-indexed export_tar indexed
    fi
    if wanted build; then
      fresh; measure index-build lm index build "$host/plain:latest"
    fi
  done
done

echo "$(grep -c ^processor /proc/cpuinfo) cores, Linux $(uname -r), $(date -u +%F), median of $runs runs"
echo "| what | link | seconds | requests | bytes |"
echo "|---|---|---|---|---|"
for file in "$work"/*.fast "$work"/*.slow; do
  name=${file##*/}
  echo "| ${name%.*} | ${name##*.} | $(column 1 <"$file") | $(column 2 <"$file") | $(column 3 <"$file") |"
done
