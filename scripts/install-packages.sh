#!/bin/sh
# Installs the Debian packages named as arguments, unless all of them are there. Root, or sudo.
set -eu

missing=
for package in "$@"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif command -v sudo >/dev/null; then
  as_root=sudo
else
  echo "Cannot install$missing: not root, and there is no sudo; run as root: apt-get install$missing" >&2
  exit 1
fi
echo "Installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  # shellcheck disable=SC2086 # a list of package names
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}
# Package lists that are there may do; a fresh machine has none or old ones.
if ! install >"$log" 2>&1; then
  { $as_root apt-get update && install; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "apt-get could not install$missing; the end of what it said is above." >&2
    exit 1
  }
fi
