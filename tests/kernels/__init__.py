# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot real Debian kernels under qemu's software emulation and run a test job in them.

``python3 -m tests.kernels --help`` from the checkout's root. Needs no KVM and no root, only the packages
qemu-system-x86, busybox-static and kmod. The machine's own root file system is what the kernel sees (read-only,
below a tmpfs), so the job finds the same checkout, interpreter and tools as outside.
"""
