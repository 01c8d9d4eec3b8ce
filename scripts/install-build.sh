#!/bin/sh
# What building and running LazyMount needs: the .NET SDK, which must be there, and Debian packages.
set -eu
cd "$(dirname "$0")/.."
. scripts/dotnet-environment.sh

sdk='the .NET SDK 10.0 (https://dotnet.microsoft.com/download/dotnet/10.0, or: curl -sSL https://dot.net/v1/dotnet-install.sh | bash -s -- --channel 10.0)'
command -v dotnet >/dev/null || {
  echo "There is no dotnet in PATH: install $sdk, put it into PATH and try again." >&2
  exit 1
}
# In this directory dotnet answers with a version that global.json accepts, or fails.
dotnet --version >/dev/null 2>&1 || {
  found=$(dotnet --list-sdks 2>/dev/null | cut -d' ' -f1 | paste -sd ' ')
  echo "LazyMount needs the .NET SDK 10.0 but dotnet has only: ${found:-no SDK at all}; install $sdk and try again." >&2
  exit 1
}
# clang links what NativeAOT compiles, against zlib1g-dev; fuse3 brings fusermount3 for mounts without root.
exec scripts/install-packages.sh ca-certificates clang zlib1g-dev fuse3
