#!/bin/sh
# Publishes the NativeAOT binary: artifacts/bin/lazymount.
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
quietly dotnet restore src/LazyMount --locked-mode
quietly dotnet publish src/LazyMount -c Release -r "$runtime" --no-restore -o artifacts/publish
# Installed by rename: a lazymount that runs keeps its file.
mkdir -p artifacts/bin
cp artifacts/publish/lazymount artifacts/bin/lazymount.new
mv artifacts/bin/lazymount.new artifacts/bin/lazymount
