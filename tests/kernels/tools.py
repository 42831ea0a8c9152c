# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the machine that the harness needs."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Dict, List, NamedTuple

from .errors import HarnessError
from .guest import SYSTEM_PATH
from .qemu import PROGRAM

PACKAGES = {
    PROGRAM: 'qemu-system-x86',
    'busybox': 'busybox-static',
    'depmod': 'kmod',
    'dpkg-deb': 'dpkg',
    'apt-get': 'apt',
}
PT_INTERP = 3  # elf(5): the program header of what a dynamic loader must load


class Tools(NamedTuple):
    """Where the programs are."""

    qemu: str
    busybox: str
    depmod: str
    dpkg_deb: str
    apt_get: str


def find_tools() -> Tools:
    """Find all of them, also in the sbin folders that an ordinary user's PATH lacks; name the packages missing."""
    path = f'{os.environ.get("PATH", "")}:{SYSTEM_PATH}'
    found = {program: shutil.which(program, path=path) or '' for program in PACKAGES}
    missing = missing_packages(found)
    if missing:
        raise HarnessError(f'missing: apt-get install {" ".join(missing)}')
    return Tools(*found.values())


def missing_packages(found: Dict[str, str]) -> List[str]:
    """Packages of the programs without a place; a busybox that needs libraries is not the one that is needed."""
    missing = [PACKAGES[program] for program, place in found.items() if not place]
    if found['busybox'] and not is_static(Path(found['busybox']).read_bytes()):
        missing.append(PACKAGES['busybox'])
    return missing


def is_static(program: bytes) -> bool:
    """Whether a 64-bit ELF program runs without a dynamic loader."""
    (offset,) = struct.unpack_from('<Q', program, 32)
    size, count = struct.unpack_from('<HH', program, 54)
    return PT_INTERP not in [struct.unpack_from('<I', program, offset + size * number)[0] for number in range(count)]
