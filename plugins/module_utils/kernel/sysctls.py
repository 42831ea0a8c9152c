# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings below /proc/sys, read and written by path (sysctl.d(5) writes the same paths with dots)."""

from __future__ import annotations

import os
from typing import Dict, Iterable

from ..errors import KernelError
from ..objects import Sysctl

_ROOT = '/proc/sys/'


def read_sysctls(paths: Iterable[str]) -> Dict[str, str]:
    """The values of those settings that this kernel has."""
    found: Dict[str, str] = {}
    for path in paths:
        try:
            with open(_ROOT + path, encoding='ascii') as file:
                found[path] = file.read().strip()
        except OSError:
            continue
    return found


def read_only() -> bool:
    """Whether settings can only be read, as in a container without privileges."""
    return bool(os.statvfs(_ROOT).f_flag & os.ST_RDONLY)


def write_sysctl(item: Sysctl) -> None:
    """Set one setting; KernelError with the kernel's words when it refuses."""
    try:
        with open(_ROOT + item.path, 'w', encoding='ascii') as file:
            file.write(item.value)
    except OSError as error:
        raise KernelError('set sysctl', f'{item.path}={item.value}', error.strerror or '', error.errno or 0) from error
