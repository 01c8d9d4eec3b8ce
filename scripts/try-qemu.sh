#!/bin/bash
# Boots a virtual machine that has image.erofs of `mount --view image-file` as its disk, and compares what the machine's kernel
# shows with what `lazymount mount` shows on this host: names, types, modes, owners, times, links, targets, and the bytes of every file.
# Debian's qemu and kernel (x86-64), and an initramfs of busybox and a few modules. A small image takes seconds, without acceleration.
#
#   scripts/try-qemu.sh [IMAGE]     default: the image of scripts/make-sample-image.sh
#
# ACCEL: how qemu runs the machine [tcg: needs nothing of the host; kvm is faster]. TIMEOUT: seconds for it [300].
set -euo pipefail
cd "$(dirname "$0")/.."
lazymount=${LAZYMOUNT_BINARY:-$PWD/artifacts/bin/lazymount}
[ -x "$lazymount" ] || scripts/build.sh
scripts/install-packages.sh qemu-system-x86 busybox-static cpio

work=$(mktemp -d)
cleanup() {
  "$lazymount" umount "$work/disk" "$work/tree" >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
export LAZYMOUNT_CACHE=$work/cache LAZYMOUNT_STATE=$work/state
image=${1:-}
[ -n "$image" ] || { scripts/make-sample-image.sh "$work/sample"; image=oci:$work/sample:sample; }

# The kernel is unpacked and not installed: an installed one would change how this host boots. 27 MB, fetched once.
kernels=$PWD/artifacts/kernel
fetch_kernel() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
  [ -n "$package" ] && (cd "$work/kernel" && apt-get download -q "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
}
if ! [ -d "$kernels" ]; then
  mkdir "$work/kernel"
  # A fresh machine has no package lists.
  fetch_kernel >"$work/apt.log" 2>&1 || { apt-get update && fetch_kernel; } >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; echo "apt-get could not download a kernel." >&2; exit 1; }
  mkdir -p artifacts
  mv -T "$work/kernel" "$kernels" 2>/dev/null || [ -d "$kernels" ] # another run may have been faster
fi
kernel=$(echo "$kernels"/boot/vmlinuz-*)

# What both sides run, with the same program. Directories have no size here: each file system counts its own.
cat >"$work/describe" <<'DESCRIBE'
cd "$1"
find . -exec stat -c '%N %f %u %g %h %t:%T %Y %i' {} + | sort >"$2"
sha256sum <"$2" | sed 's/-/names/'
find . -type f -exec sha256sum {} + | sort | sha256sum | sed 's/-/content/'
DESCRIBE

root=$work/initramfs
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/image" "$root/modules"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$work/describe" "$root/describe"
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk libcrc32c erofs"
for module in $modules; do
  find "$kernels" -name "$module.ko*" -exec cp {} "$root/modules/" \; # some are built into some kernels
done
cat >"$root/init" <<INIT
#!/bin/sh
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
cd /modules
for module in $modules; do
  ! [ -e \$module.ko ] || insmod \$module.ko
  ! [ -e \$module.ko.xz ] || { unxz \$module.ko.xz && insmod \$module.ko; }
done
mount -t erofs -o ro /dev/vda /image && sh /describe /image /names | sed 's/^/guest: /'
poweroff -f
INIT
chmod +x "$root/init"
ln -s busybox "$root/bin/sh"
(cd "$root" && find . | cpio --quiet -o -H newc) >"$work/initramfs.cpio"

mkdir "$work/disk" "$work/tree"
"$lazymount" mount --view image-file "$image" "$work/disk"
"$lazymount" mount "$image" "$work/tree"
accel=${ACCEL:-tcg}
echo "Booting $(basename "$kernel"), accelerator $accel, disk of $(stat -c %s "$work/disk/image.erofs") bytes"
begin=$(date +%s)
timeout "${TIMEOUT:-300}" qemu-system-x86_64 -machine q35 -accel "$accel" -m 512 -nographic -no-reboot -nodefaults -serial stdio \
  -kernel "$kernel" -initrd "$work/initramfs.cpio" -append "console=ttyS0 quiet panic=-1" \
  -drive "file=$work/disk/image.erofs,format=raw,if=virtio,readonly=on" </dev/null >"$work/console" 2>&1 || true
echo "The machine ran for $(($(date +%s) - begin)) s"
tr -d '\r' <"$work/console" | sed -n 's/.*guest: //p' >"$work/guest"
PATH=$work/initramfs/bin:$PATH busybox sh "$work/describe" "$work/tree" "$work/names" >"$work/host"
[ -s "$work/guest" ] || { cat "$work/console" >&2; echo "The machine did not show the image." >&2; exit 1; }
diff "$work/host" "$work/guest" || { echo "The machine shows another tree." >&2; exit 1; }
cat "$work/guest"
echo "The machine shows the same $(wc -l <"$work/names") names and all their content"
