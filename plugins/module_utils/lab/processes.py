# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that live in network namespaces, found by the namespace's identity and never by name."""

from __future__ import annotations

import os
import signal
import time
from typing import FrozenSet, Iterable, List, Set, Tuple

from .namespace import identity

Identity = Tuple[int, int]


def living_in(namespaces: Iterable[Identity]) -> List[int]:
    """Process ids in any of these namespaces; never the caller or those that started it."""
    wanted = frozenset(namespaces)
    spared = _ancestry()
    found = [int(name) for name in os.listdir('/proc') if name.isdigit()]
    return [pid for pid in found if pid not in spared and _lives_in(pid, wanted)]


def end(namespaces: Iterable[Identity], patience: float = 3.0) -> int:
    """End what lives there: asked first, killed after `patience` seconds. The number of processes met."""
    wanted = frozenset(namespaces)
    met: Set[int] = set()
    for request in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience
        asked: Set[int] = set()
        while True:
            left = living_in(wanted)
            for pid in left:
                # A process that was started meanwhile is asked too; one that was asked gets its time.
                if pid not in asked:
                    _send(pid, request, wanted)
            asked.update(left)
            met.update(left)
            if not left:
                return len(met)
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
    return len(met)


def _ancestry() -> Set[int]:
    """The caller and its parents."""
    found: Set[int] = set()
    pid = os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = int(_stat(pid)[1])
    return found


def _stat(pid: int) -> List[str]:
    """Fields of /proc/PID/stat (proc(5)) from the third on: the name before may hold anything."""
    with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as file:
        return file.read().rpartition(')')[2].split()


def start_time(pid: int) -> int:
    """When a process was started, in clock ticks since boot; with its pid that is unique. OSError if it is gone."""
    return int(_stat(pid)[19])


def ended(pid: int) -> bool:
    """Whether a process is gone or only waits to be collected by its parent."""
    try:
        return _stat(pid)[0] in 'ZX'
    except (OSError, IndexError):
        return True


def _lives_in(pid: int, wanted: FrozenSet[Identity]) -> bool:
    try:
        return identity(f'/proc/{pid}/ns/net') in wanted
    except OSError:
        return False


def _send(pid: int, request: int, wanted: FrozenSet[Identity]) -> None:
    """Signal a process that is still the one that was found (pidfd_open(2) where Python has it)."""
    try:
        if not hasattr(os, 'pidfd_open'):
            os.kill(pid, request)
            return
        descriptor = os.pidfd_open(pid)
        try:
            # The pid may have been given away before the descriptor was opened, but not after.
            if _lives_in(pid, wanted):
                signal.pidfd_send_signal(descriptor, request)
        finally:
            os.close(descriptor)
    except ProcessLookupError:
        return
