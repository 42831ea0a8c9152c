# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this kernel can make VRF devices: tried where it leaves no trace."""

from __future__ import annotations

import ctypes
import os

from ..errors import KernelError
from ..objects import Link
from . import links
from .netlink import Netlink

_CLONE_NEWNET = 0x40000000  # linux/sched.h


def vrf_supported() -> bool:
    """Make a VRF in a network namespace that ends with the process that made it.

    No sysctl and no file tells: the driver may be built in, or be a module that the kernel loads when asked.
    """
    child = os.fork()
    if child == 0:
        os._exit(_try())
    return os.waitpid(child, 0)[1] == 0


def _try() -> int:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        return 1
    try:
        with Netlink() as netlink:
            probe = Link(0, 'probe', kind='vrf', vrf_table=1)
            return 0 if netlink.request(links.add_message(probe)) is None else 1
    except KernelError:
        return 1
