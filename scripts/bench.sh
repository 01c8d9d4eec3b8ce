#!/bin/bash
# The one benchmark of whole commands: LazyMount against other tools, ext4, its other face, or an older binary, side by side in one
# run. Prints a table in Markdown for each group of rows. Root: it mounts, unpacks with owners and drops the kernel's caches.
#
#   scripts/bench.sh [--runs N] [GROUP...]     every figure is the median of N runs [5]; all groups if none is named
#
#   whole      mount from a registry, against skopeo + umoci; find and tar, against ext4
#   tree       opening images of 114,000 and 1,000,000 files again: times, private memory, making the tree file
#   erofs      the EROFS face, against the same files unpacked on ext4, and against the FUSE face
#   fuse       the FUSE face, against an older binary: BASELINE=/path/to/lazymount
#   indexing   decoding and indexing of layers in one process (BenchmarkDotNet)
#
# Every target is an upper limit, of the ratio where there is another way and of the figure where there is none.
#
# BENCH_DIR: where the images are and trees are unpacked to (see make-bench-images.sh); should be on ext4.
# LAZYMOUNT_BINARY: what is measured [what scripts/build.sh makes]. BASELINE: an older binary for the group fuse.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/dotnet-environment.sh
export LC_ALL=C # figures with a point, and sorting alike everywhere

runs=5
groups=
while [ $# -gt 0 ]; do
  case $1 in
    --runs) runs=${2:?--runs needs a number}; shift ;;
    whole | tree | erofs | fuse | indexing) groups+=" $1" ;;
    *) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
groups=${groups:-whole tree erofs fuse indexing}
wanted() { [[ " $groups " == *" $1 "* ]]; }

export BENCH_DIR=${BENCH_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lazymount-bench}
[ "$(id -u)" -eq 0 ] || { echo "Measuring cold caches needs root." >&2; exit 1; }
scripts/install-build.sh >&2
scripts/install-test.sh >&2
scripts/install-packages.sh time >&2
scripts/make-bench-images.sh >&2
! wanted tree || scripts/make-million-image.pl "$BENCH_DIR/million" >&2
[ -n "${LAZYMOUNT_BINARY:-}" ] || { echo "Building" >&2; scripts/build.sh >&2; }
LAZYMOUNT_BINARY=$(realpath "${LAZYMOUNT_BINARY:-artifacts/bin/lazymount}")
bench=oci:$BENCH_DIR/layout:bench
million=oci:$BENCH_DIR/million:million

case $(stat -f -c %T "$BENCH_DIR") in ext*) ;; *) echo "Note: $BENCH_DIR is not on ext4, which the figures are meant to be compared with." >&2 ;; esac
work=$(mktemp -d "$BENCH_DIR/run.XXXXXX")
mnt=$work/mnt
ext4=$work/ext4/rootfs
mkdir "$mnt"
registry=
trace=
cleanup() {
  { "$lazymount" umount "$mnt" || umount --lazy "$mnt"; } >/dev/null 2>&1 || true
  [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
  [ -z "$trace" ] || rmdir "$trace" 2>/dev/null || true
  ! mountpoint -q "$work/tracing" || umount "$work/tracing" || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

### Figures: seconds, bytes or plain numbers, one file of them for each name

record() { echo "$2" >>"$work/$1.figures"; } # NAME VALUE
figure() { sort -g "$work/$1.figures" | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
calculate() { awk "BEGIN {printf \"%.6f\", $1}"; }
measure() { # NAME COMMAND...: records the command's time; a command that fails ends the run
  local name=$1 begin end
  shift
  begin=$EPOCHREALTIME
  "$@" >/dev/null 2>"$work/errors" || { cat "$work/errors" >&2; echo "$* failed" >&2; exit 1; }
  end=$EPOCHREALTIME
  record "$name" "$(calculate "$end - $begin")"
}

### Tables

heading() { # TITLE
  printf '\n## %s (median of %s, %s)\n\n' "$1" "$runs" "$(date -u +%F)"
  printf '%s cores, Linux %s, %s\n\n' "$(nproc)" "$(uname -r | cut -d- -f1)" "$(findmnt --noheadings --output FSTYPE --target "$BENCH_DIR")"
  echo '| what | LazyMount | the other way | ratio | target |'
  echo '|---|---|---|---|---|'
}
with_unit() { # VALUE KIND
  awk -v v="$1" -v kind="$2" 'BEGIN {
    if (kind == "time") { if (v < 0.1) printf "%.1f ms", v * 1e3; else if (v < 1) printf "%.0f ms", v * 1e3; else printf "%.2f s", v }
    else if (kind == "memory") printf "%.1f MB", v / 1e6
    else printf "%d", v }'
}
row() { # WHAT KIND NAME [OTHER-NAME] [TARGET]: a line of the table; KIND is time, memory or number
  local ours other other_text='' ratio='' target=${5:-} compared
  [ -e "$work/$3.figures" ] || { echo "| $1 | not measured | | | |"; return; }
  ours=$(figure "$3")
  compared=$ours
  if [ -n "${4:-}" ] && [ -e "$work/$4.figures" ]; then
    other=$(figure "$4")
    other_text=$(with_unit "$other" "$2")
    ratio=$(awk -v a="$ours" -v b="$other" 'BEGIN {if (b > 0) printf "%.2f", a / b}')
    [ "$2" = number ] || compared=$(calculate "$ours / $other") # numbers have their targets by themselves
  fi
  if [ -n "$target" ] && [ -n "$other_text" ] || [ -z "${4:-}" ]; then
    target=$(awk -v target="$target" -v a="$compared" 'BEGIN {if (target != "") print target (a > target + 0 ? ", missed" : ", met")}')
    # A target of the figure itself is written as the figure is.
    if [ -n "$target" ] && [ -z "${4:-}" ]; then target="$(with_unit "${5:-}" "$2"), ${target#*, }"; fi
  fi
  echo "| $1 | $(with_unit "$ours" "$2") | $other_text | $ratio | $target |"
}
progress() { echo "$1, run $2 of $runs: load $(cut -d' ' -f1 /proc/loadavg)" >&2; }

### The program, its mounts and their memory

use() { # NAME BINARY: from now on this binary is measured, with a cache and records of its own
  lazymount=$2
  export LAZYMOUNT_CACHE=$work/cache-$1 LAZYMOUNT_STATE=$work/state-$1
}
use ours "$LAZYMOUNT_BINARY"
mount_image() { # IMAGE FACE: binaries that are older than the EROFS face do not know --as
  if [ "$lazymount" = "$LAZYMOUNT_BINARY" ] || "$lazymount" mount --help | grep -q -e --as; then
    "$lazymount" mount --as "$2" "$1" "$mnt"
  else
    "$lazymount" mount "$1" "$mnt"
  fi
}
mount_and_ls() { mount_image "$@" && ls "$mnt"; }
unmount() { "$lazymount" umount "$mnt"; }
faces="erofs fuse"
if ! mount_image "$bench" erofs 2>"$work/errors"; then
  echo "No EROFS face here: $(cat "$work/errors")" >&2
  faces=fuse
else
  unmount
fi
processes() { # all processes of the mounts of this run: nothing else has this directory of records
  local process
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/exe")" = "$lazymount" ] && grep -qz "^LAZYMOUNT_STATE=$LAZYMOUNT_STATE\$" "$process/environ"; then echo "$process"; fi
  done 2>/dev/null
}
sum_of() { # FIELD FILE: kB of a field of a file of all processes, in bytes
  local process total=0
  for process in $(processes); do total=$((total + $(awk -v field="$1:" '$1 == field {print $2}' "$process/$2"))); done
  [ "$total" -gt 0 ] || { echo "No process of a mount has $1." >&2; exit 1; }
  echo $((total * 1024))
}
private() { sum_of Private_Dirty smaps_rollup; }
peak() { sum_of VmHWM status; }
peak_of() { # COMMAND...: the largest resident size of a command that ends, in bytes
  /usr/bin/time -f %M -o "$work/peak" "$@" >/dev/null
  echo $(($(tail -n 1 "$work/peak") * 1024))
}

### What is done with trees

# Cold are the trees, not the programs that walk them.
drop_caches() {
  sync
  echo 3 >/proc/sys/vm/drop_caches
  { "$lazymount" --version && ls -l "$work/errors" && find "$work/errors" -ls && getfattr "$work/errors" && tar cf - "$work/errors" && count "$work/errors"; } >/dev/null 2>&1
}
count() { find "$1" | wc -l; }
# The FUSE face of an image without attributes knows no listxattr(2) at all, and getfattr calls that an error.
attributes() { getfattr -R -h -d -m - "$1" 2>/dev/null || true; }
read_all() { tar cf - -C "$1" . | cat >/dev/null; }
unpacked() { [ -e "$ext4" ] || { mkdir -p "${ext4%/*}"; "$lazymount" unpack "$bench" "$ext4"; }; } # the same tree on ext4
same_number_of_paths() { [ "$(count "$mnt")" -eq "$(count "$ext4")" ] || { echo "The trees differ in their number of paths." >&2; exit 1; }; }

### whole

start_registry() { # a real one on loopback, with the image
  local port
  port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
  printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$work/registry" "$port" >"$work/registry.yml"
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry=$!
  pushed=127.0.0.1:$port/bench:latest
  push() { skopeo copy --quiet --dest-tls-verify=false "$bench" "docker://$pushed"; }
  push 2>/dev/null || { sleep 1; push; }
}
skopeo_umoci() {
  skopeo copy --quiet --src-tls-verify=false "docker://$pushed" "oci:$work/copy:bench" && umoci unpack --image "$work/copy:bench" "${ext4%/*}"
}
group_whole() {
  local run face
  start_registry
  for run in $(seq "$runs"); do
    progress whole "$run"
    rm -rf "$work/copy" "${ext4%/*}"
    drop_caches
    measure unpack skopeo_umoci

    rm -rf "$LAZYMOUNT_CACHE"
    drop_caches
    measure first-mount mount_and_ls "$pushed" auto
    record peak-indexing "$(peak)"
    unmount
    measure mount-again mount_and_ls "$pushed" auto
    unmount

    drop_caches
    measure ext4-cold count "$ext4"
    measure ext4-warm count "$ext4"
    drop_caches
    measure ext4-read read_all "$ext4"
    for face in $faces; do
      drop_caches
      mount_image "$pushed" "$face"
      measure "$face-cold" count "$mnt"
      measure "$face-warm" count "$mnt"
      same_number_of_paths
      measure "$face-read" read_all "$mnt"
      record "$face-peak" "$(peak)"
      unmount
    done
  done
  heading "Whole commands, $(count "$ext4") paths"
  row "mount from a local registry with an empty cache, then \`ls\`; against skopeo copy + umoci unpack" time first-mount unpack 0.10
  row "mount again with the index cached, then \`ls\`, process start included" time mount-again "" 0.3
  row "peak memory of the daemon after indexing" memory peak-indexing
  for face in $faces; do
    row "first \`find \\| wc -l\` after mounting, ${face^^}; against ext4 with cold caches" time "$face-cold" ext4-cold 1.00
    row "second \`find \\| wc -l\`, ${face^^}; against ext4 with warm caches" time "$face-warm" ext4-warm 1.50
    row "\`tar\` of everything to nowhere, ${face^^}; against ext4 with cold caches" time "$face-read" ext4-read
    row "peak memory of the daemon after reading everything, ${face^^}" memory "$face-peak" "" 150e6
  done
}

### tree

measure_tree() { # NAME IMAGE DIRECTORY: figures of an image whose indexes are there
  local name=$1 image=$2 directory=$3 face
  "$lazymount" ls "$image" "$directory" >/dev/null
  measure "$name-ls" "$lazymount" ls "$image" "$directory"
  for face in $faces; do
    measure "$name-$face-mount" mount_and_ls "$image" "$face"
    unmount
    mount_image "$image" "$face"
    sleep 3 # what the start leaves behind is given back by then, or it is never
    record "$name-$face-idle" "$(private)"
    count "$mnt" >/dev/null
    record "$name-$face-found" "$(private)"
    unmount
  done
  rm -f "$LAZYMOUNT_CACHE"/v1/trees/*
  measure "$name-make-and-ls" "$lazymount" ls "$image" "$directory"
  record "$name-make" "$(calculate "$(tail -n 1 "$work/$name-make-and-ls.figures") - $(tail -n 1 "$work/$name-ls.figures")")"
  rm -f "$LAZYMOUNT_CACHE"/v1/trees/*
  record "$name-make-peak" "$(peak_of "$lazymount" ls "$image" "$directory")"
}
tree_rows() { # NAME FILES DIRECTORY TARGET-OF-MOUNT TARGET-OF-MAKING TARGET-OF-ITS-PEAK
  local face
  for face in $faces; do row "\`mount\` + \`ls\` again, ${face^^}, process start included, $2" time "$1-$face-mount" "" "$4"; done
  row "\`lazymount ls IMAGE $3\`, tree file there, $2" time "$1-ls" "" 0.020
  for face in $faces; do
    row "private memory of an idle mount, ${face^^}, $2" memory "$1-$face-idle" "" 8e6
    row "private memory after \`find\` of everything, ${face^^}, $2" memory "$1-$face-found"
  done
  row "making the tree file from ready indexes (\`ls\` without it, less \`ls\` with it), $2" time "$1-make" "" "$5"
  row "largest resident size of the process that makes it, $2" memory "$1-make-peak" "" "$6"
}
group_tree() {
  local run
  for run in $(seq "$runs"); do
    progress tree "$run"
    measure_tree bench "$bench" /etc
    measure_tree million "$million" /d050/e050
  done
  heading "The tree file"
  tree_rows bench "114,000 files" /etc 0.045 "" ""
  tree_rows million "1,000,000 files" DIR 0.060 0.5 250e6
}

### erofs

# Requests for names among those that a command makes the kernel send to a FUSE server, as the tracepoint of the kernel tells: They
# are sent by the process that waits for them, so only the command's processes are traced, and other mounts do not disturb.
prepare_trace() {
  local tracing=/sys/kernel/tracing
  if ! [ -d "$tracing/events" ]; then
    mkdir "$work/tracing" && mount -t tracefs none "$work/tracing" 2>/dev/null || return 1
    tracing=$work/tracing
  fi
  [ -d "$tracing/events/fuse" ] && mkdir "$tracing/instances/lazymount-bench.$$" || return 1
  trace=$tracing/instances/lazymount-bench.$$
  echo event-fork >"$trace/trace_options"
  echo 16384 >"$trace/buffer_size_kb"
}
record_requests() { # NAME COMMAND...
  local name=$1
  shift
  [ -n "$trace" ] || return 0
  echo >"$trace/trace"
  # The shell names itself and then becomes the command, so that nothing of the command is missed.
  sh -c 'echo $$ >"$0/set_event_pid"; echo 1 >"$0/events/fuse/fuse_request_send/enable"; exec "$@"' "$trace" "$@" >/dev/null
  echo 0 >"$trace/events/fuse/fuse_request_send/enable"
  record "$name-reads" "$(grep -c 'fuse_request_send: .*(\(FUSE_\)\?READ)' "$trace/trace")"
  record "$name" "$(grep -c 'fuse_request_send: .*(\(FUSE_\)\?\(LOOKUP\|GETATTR\|READLINK\|OPENDIR\|READDIR\|READDIRPLUS\|RELEASEDIR\|ACCESS\|STATX\|GETXATTR\|LISTXATTR\))' "$trace/trace")"
}

python_imports="import argparse, asyncio, concurrent.futures, ctypes, decimal, email.mime.text, http.client, json, logging.config, \
multiprocessing, sqlite3, ssl, unittest, urllib.request, xml.dom.minidom, zipfile"
node_requires='for (const name of ["lodash", "rxjs", "core-js", "date-fns", "semver", "terser", "webpack", "typescript", "yargs"])
  require("/srv/app/node_modules/" + name)'
start_python() { local i; for i in $(seq 10); do chroot "$1" /usr/bin/python3 -B -c "$python_imports"; done; }
start_node() { local i; for i in $(seq 5); do chroot "$1" /usr/bin/node -e "$node_requires"; done; }
read_often() { cat "$1" "$1" "$1" "$1" "$1" "$1" "$1" "$1" "$1" "$1"; }

measure_warm() { # NAME TREE: each of these once before, so that the page cache has everything
  local what
  for what in attributes start_python start_node; do
    "$what" "$2" >/dev/null 2>&1 || true
    measure "$1-$what" "$what" "$2"
  done
}
page_cache() { # bytes in the page cache, but for those of the layers and of LazyMount's cache, which are read to be decoded
  local cached theirs
  cached=$(awk '$1 == "Cached:" {print $2 * 1024}' /proc/meminfo)
  theirs=$(find "$BENCH_DIR/layout" "$LAZYMOUNT_CACHE" -type f -exec fincore --bytes --noheadings --raw --output RES {} + | awk '{sum += $1} END {print sum + 0}')
  echo $((cached - theirs))
}
record_page_cache() { # NAME FILE: what reading a file once adds
  local before
  drop_caches
  page_cache >/dev/null # warms the programs that it runs
  cat "$work/errors" >/dev/null
  before=$(page_cache)
  cat "$2" >/dev/null
  record "$1" $(($(page_cache) - before))
}
group_erofs() {
  local run face large
  [[ $faces == *erofs* ]] || { echo "The group erofs needs Linux 6.13 or later." >&2; return; }
  unpacked
  prepare_trace || echo "No tracepoints of FUSE here: requests are not counted." >&2
  large=$(find "$ext4" -type f -printf '%s %P\n' | sort -n | tail -n 1)
  for run in $(seq "$runs"); do
    progress erofs "$run"
    drop_caches
    measure ext4-find-cold count "$ext4"
    measure ext4-find-again count "$ext4"
    measure_warm ext4 "$ext4"
    for face in $faces; do
      mount_image "$bench" "$face"
      drop_caches
      measure "$face-find-cold" count "$mnt"
      measure "$face-find-again" count "$mnt"
      same_number_of_paths
      measure_warm "$face" "$mnt"
      cat "$mnt/${large#* }" >/dev/null
      measure "$face-sequential" read_often "$mnt/${large#* }"
      record_page_cache "$face-page-cache" "$mnt/${large#* }"
      record large-file "${large%% *}"
      unmount
      # Counted in a mount of its own: counting costs time.
      mount_image "$bench" "$face"
      drop_caches
      record_requests "$face-requests" find "$mnt"
      unmount
    done
  done
  heading "The EROFS face, $(count "$ext4") paths"
  row "\`find\` of everything, all caches cold; against ext4" time erofs-find-cold ext4-find-cold 0.35
  row "\`find\` again; against ext4" time erofs-find-again ext4-find-again 1.00
  row "FUSE requests for names during a cold \`find\`; against the FUSE face" number erofs-requests fuse-requests 0
  row "FUSE requests for pieces of the tree file during that \`find\`" number erofs-requests-reads
  row "\`getfattr -R -h -d -m -\`, warm; against ext4" time erofs-attributes ext4-attributes 1.00
  row "\`python3 -c 'import …'\` 10 times in the image, warm; against ext4" time erofs-start_python ext4-start_python 1.00
  row "\`node -e 'require(…)'\` 5 times in the image, warm; against ext4" time erofs-start_node ext4-start_node 1.00
  row "reading $(with_unit "${large%% *}" memory) 10 times, page cache warm; against the FUSE face (target: 1.5 times as fast)" time erofs-sequential fuse-sequential 0.667
  row "page cache used by reading that once; against its bytes" memory erofs-page-cache large-file 1.05
  row "the same on the FUSE face" memory fuse-page-cache large-file
}

### fuse

measure_fuse() { # NAME BINARY
  use "$1" "$2"
  mount_image "$bench" fuse # makes what the cache lacks
  unmount
  mount_image "$bench" fuse
  drop_caches
  measure "$1-fuse-cold" count "$mnt"
  measure "$1-fuse-again" count "$mnt"
  measure "$1-fuse-long" find "$mnt" -ls
  measure "$1-fuse-attributes" attributes "$mnt"
  measure "$1-fuse-read" read_all "$mnt"
  unmount
  use ours "$LAZYMOUNT_BINARY"
}
measure_baseline() { [ -z "${BASELINE:-}" ] || measure_fuse baseline "$(realpath "$BASELINE")"; }
group_fuse() {
  local run
  [ -n "${BASELINE:-}" ] || echo "The group fuse compares with BASELINE=/path/to/lazymount, which is not set." >&2
  for run in $(seq "$runs"); do
    progress fuse "$run"
    [ $((run % 2)) -eq 1 ] || measure_baseline # each is the first one in every other run
    measure_fuse ours "$LAZYMOUNT_BINARY"
    [ $((run % 2)) -eq 0 ] || measure_baseline
  done
  heading "The FUSE face, against an older binary"
  row "\`find \\| wc -l\`, all caches cold" time ours-fuse-cold baseline-fuse-cold 1.00
  row "\`find \\| wc -l\` again" time ours-fuse-again baseline-fuse-again 1.00
  row "\`find -ls\` then" time ours-fuse-long baseline-fuse-long 1.00
  row "\`getfattr -R -h -d -m -\`" time ours-fuse-attributes baseline-fuse-attributes 1.00
  row "\`tar\` of everything to nowhere" time ours-fuse-read baseline-fuse-read 1.00
}

### indexing

group_indexing() {
  printf '\n## Indexing in one process: decoding, tar scan and digest of a layer, against GZipStream\n\n'
  dotnet run --project tests/LazyMount.Benchmarks -c Release
}

for group in $groups; do "group_$group"; done
