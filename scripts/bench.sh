#!/bin/bash
# Measures LazyMount against skopeo + umoci and against ext4 on the benchmark image, all in one run, side by side, and
# prints a table in Markdown. Root: it unpacks with owners and drops the kernel's caches.
#
#   scripts/bench.sh [RUNS]     default 3; every figure is the median of as many runs
#
# BENCH_DIR: where the image is and trees are unpacked to (see make-bench-images.sh); should be on ext4.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/dotnet-environment.sh

runs=${1:-3}
export BENCH_DIR=${BENCH_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lazymount-bench}
[ "$(id -u)" -eq 0 ] || { echo "Measuring cold caches needs root." >&2; exit 1; }
scripts/install-build.sh >&2
scripts/install-test.sh >&2
scripts/make-bench-images.sh >&2
[ -n "${LAZYMOUNT_BINARY:-}" ] || { echo "Building" >&2; scripts/build.sh; }
lazymount=${LAZYMOUNT_BINARY:-$PWD/artifacts/bin/lazymount}

case $(stat -f -c %T "$BENCH_DIR") in ext*) ;; *) echo "Note: $BENCH_DIR is not on ext4, which the figures are meant to be compared with." >&2 ;; esac
work=$(mktemp -d "$BENCH_DIR/run.XXXXXX")
mnt=$work/mnt
mkdir "$mnt"
registry=
cleanup() {
  { "$lazymount" umount "$mnt" || umount --lazy "$mnt"; } >/dev/null 2>&1 || true
  [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
export LAZYMOUNT_CACHE=$work/cache LAZYMOUNT_STATE=$work/state

# A real registry on loopback holds the image.
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$work/registry" "$port" >"$work/registry.yml"
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
image=127.0.0.1:$port/bench:latest
push() { skopeo copy --quiet --dest-tls-verify=false "oci:$BENCH_DIR/layout:bench" "docker://$image"; }
push 2>/dev/null || { sleep 1; push; }

drop_caches() { sync; echo 3 >/proc/sys/vm/drop_caches; }
measure() { # NAME COMMAND...: notes its wall time; a command that fails ends the run
  local name=$1 begin end
  shift
  begin=$(date +%s%N)
  "$@" >/dev/null || { echo "$* failed" >&2; exit 1; }
  end=$(date +%s%N)
  record "$name" "$(awk -v ns=$((end - begin)) 'BEGIN {printf "%.3f", ns / 1e9}')"
}
median() { sort -n | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
record() { echo "$2" >>"$work/$1.times"; }
figure() { median <"$work/$1.times"; }

skopeo_umoci() {
  skopeo copy --quiet --src-tls-verify=false "docker://$image" "oci:$work/copy:bench" && umoci unpack --image "$work/copy:bench" "$work/unpacked"
}
mount_and_ls() { "$lazymount" mount "$image" "$mnt" && ls "$mnt"; }
count() { find "$1" | wc -l; }
daemon_id() { "$lazymount" list --json | jq -r --arg mnt "$mnt" '.[] | select(.mountPoint == $mnt) | .pid'; }
peak() { awk '/^VmHWM/ {printf "%.0f\n", $2 / 1024}' "/proc/$(daemon_id)/status"; }

for run in $(seq "$runs"); do
  echo "Run $run of $runs" >&2
  rm -rf "$work/copy" "$work/unpacked"
  drop_caches
  measure unpack skopeo_umoci

  rm -rf "$LAZYMOUNT_CACHE"
  drop_caches
  measure mount mount_and_ls
  record peak-indexing "$(peak)"
  "$lazymount" umount "$mnt"
  measure remount mount_and_ls
  "$lazymount" umount "$mnt"

  # Cold are the trees, not the programs that walk them.
  drop_caches
  count "$work/registry.yml" >/dev/null
  measure ext4-cold count "$work/unpacked/rootfs"
  measure ext4-warm count "$work/unpacked/rootfs"
  drop_caches
  count "$work/registry.yml" >/dev/null
  "$lazymount" mount "$image" "$mnt"
  measure fuse-cold count "$mnt"
  measure fuse-warm count "$mnt"
  [ "$(count "$mnt")" -eq "$(count "$work/unpacked/rootfs")" ] || { echo "The trees differ in their number of paths." >&2; exit 1; }

  measure fuse-read sh -c "tar cf - -C '$mnt' . | cat >/dev/null"
  record peak "$(peak)"
  "$lazymount" umount "$mnt"
  drop_caches
  measure ext4-read sh -c "tar cf - -C '$work/unpacked/rootfs' . | cat >/dev/null"
done

ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
verdict() { awk -v a="$1" -v limit="$2" 'BEGIN {print (a <= limit) ? "yes" : "no"}'; }
first=$(ratio "$(figure mount)" "$(figure unpack)")
cold=$(ratio "$(figure fuse-cold)" "$(figure ext4-cold)")
warm=$(ratio "$(figure fuse-warm)" "$(figure ext4-warm)")
cat <<TABLE
$(grep -c ^processor /proc/cpuinfo) cores, Linux $(uname -r), $(date -u +%F), median of $runs runs, $(count "$work/unpacked/rootfs") paths

| what | LazyMount | the other way | ratio | target | met |
|---|---|---|---|---|---|
| mount from a local registry with an empty cache, then ls; against skopeo copy + umoci unpack | $(figure mount) s | $(figure unpack) s | $first | 0.10 | $(verdict "$first" 0.10) |
| mount again with the index cached, then ls | $(figure remount) s | | | 0.3 s | $(verdict "$(figure remount)" 0.3) |
| find \| wc -l after mounting; against ext4 with cold caches | $(figure fuse-cold) s | $(figure ext4-cold) s | $cold | 1.00 | $(verdict "$cold" 1.00) |
| find \| wc -l again; against ext4 with warm caches | $(figure fuse-warm) s | $(figure ext4-warm) s | $warm | 1.50 | $(verdict "$warm" 1.50) |
| peak memory of the daemon after reading everything | $(figure peak) MiB | | | 150 MB | $(verdict "$(figure peak)" 143) |
| peak memory of the daemon after indexing | $(figure peak-indexing) MiB | | | | |
| tar of everything to nowhere; against ext4 with cold caches | $(figure fuse-read) s | $(figure ext4-read) s | $(ratio "$(figure fuse-read)" "$(figure ext4-read)") | | |
TABLE
echo
# Decoding, tar scanning and digest of a layer, against GZipStream.
dotnet run --project tests/LazyMount.Benchmarks -c Release
