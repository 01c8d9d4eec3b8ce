#!/bin/sh
# Publishes NativeAOT binaries: artifacts/bin/lazymount, artifacts/bin/lazymount-node.
#
#   scripts/build.sh [lazymount] [lazymount-node]     lazymount if none is named
set -eu
cd "$(dirname "$0")/.."
. scripts/dotnet-environment.sh

case $(uname -m) in
  x86_64) runtime=linux-x64 ;;
  aarch64) runtime=linux-arm64 ;;
  *) echo "LazyMount builds on x86_64 and aarch64, not on $(uname -m)." >&2; exit 1 ;;
esac
quietly() {
  output=$("$@" 2>&1) || { printf '%s\n' "$output" >&2; exit 1; }
}
[ $# -gt 0 ] || set -- lazymount
for program in "$@"; do
  case $program in
    lazymount) project=src/LazyMount ;;
    lazymount-node) project=src/LazyMount.Node ;;
    *) echo "There is no program '$program'; there are lazymount and lazymount-node." >&2; exit 2 ;;
  esac
  quietly dotnet restore "$project" --locked-mode
  quietly dotnet publish "$project" -c Release -r "$runtime" --no-restore -o "artifacts/published/$program"
  # Installed by rename: a program that runs keeps its file.
  mkdir -p artifacts/bin
  cp "artifacts/published/$program/$program" "artifacts/bin/$program.new"
  mv "artifacts/bin/$program.new" "artifacts/bin/$program"
done
