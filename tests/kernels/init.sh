#!/bin/sh
# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PID 1 in the initramfs (busybox sh): make the machine's own root file system the kernel's root, writable through a
# tmpfs above it, and hand over to the job. The writable share holds settings.sh, written by tests/kernels/guest.py:
#   root      the folder of the host that becomes the root (/ or a chroot with other tools)
#   modules   the folder of the host that holds this kernel's lib/modules/RELEASE
#   names     the modules to load before the job
#   binds     folders of the host that must be seen although /tmp and /run are fresh, or although root is another one
# Nothing here may fail silently: the harness takes a missing "booted" file for a kernel that does not boot.

die() {
    echo "kernel harness: $*"
    echo o > /proc/sysrq-trigger
    sleep 60
}

must() {
    "$@" || die "failed: $*"
}

# layer LOWER NAME TARGET: what is in LOWER, writable, at TARGET
layer() {
    must mkdir -p "/upper/$2/up" "/upper/$2/work" "$3"
    must mount -t overlay -o "lowerdir=$1,upperdir=/upper/$2/up,workdir=/upper/$2/work" overlay "$3"
}

share() {
    must mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
while read -r module; do
    must insmod "/modules/$module"
done < /modules/order

share host /host ro,cache=loose
share share /share rw,cache=none
# shellcheck source=/dev/null # the harness writes it
. /share/settings.sh
: "${root?}" "${binds?}" "${modules?}" "${names?}"
must mount -t tmpfs tmpfs /upper
layer "/host$root" root /root

must mount -t proc proc /root/proc
must mount -t sysfs sysfs /root/sys
must mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
must mount -t devtmpfs devtmpfs /root/dev
mkdir -p /root/dev/pts /root/dev/shm
must mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
must mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
must mount -t tmpfs -o mode=755 tmpfs /root/run
must mount -t tmpfs -o mode=1777 tmpfs /root/tmp
ln -s /proc/self/fd /root/dev/fd
ln -s /proc/self/fd/0 /root/dev/stdin
ln -s /proc/self/fd/1 /root/dev/stdout
ln -s /proc/self/fd/2 /root/dev/stderr
mkdir -p /root/run/lock /root/run/kernels
must mkfifo /root/run/never # nobody writes to it: where PID 1 waits for the machine to go off

number=0
for bind in $binds; do
    number=$((number + 1))
    layer "/host$bind" "bind$number" "/root$bind"
done

release=$(uname -r)
must mkdir -p "/root/lib/modules/$release"
must mount --bind "/host$modules/lib/modules/$release" "/root/lib/modules/$release"
# The host's modprobe: a root with older tools may have none. Through /host/proc it would see the host's own modules.
must mount --bind /proc /host/proc
must mount --bind /sys /host/sys
# shellcheck disable=SC2086
must chroot /host /sbin/modprobe --dirname "$modules" --all $names
must ip link set lo up

echo "$release" > /share/booted.new
must mv /share/booted.new /share/booted
must mount --move /share /root/run/kernels
exec switch_root /root /bin/sh /run/kernels/job.sh
