# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that live in namespaces, found by the namespace's identity and never by name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Dict, FrozenSet, Iterable, List, Set, Tuple

from .namespace import identity

Identity = Tuple[int, int]


def living_in(namespaces: Iterable[Identity], kind: str = 'net') -> List[int]:
    """Process ids in any of these namespaces; never the caller or those that started it."""
    wanted = frozenset(namespaces)
    return [pid for pid, where in homes(kind).items() if where in wanted]


def homes(kind: str = 'net') -> Dict[int, Identity]:
    """The namespace of every process that may be looked at, but for the caller and those that started it."""
    spared = _ancestry()
    found: Dict[int, Identity] = {}
    for name in os.listdir('/proc'):
        if name.isdigit() and int(name) not in spared:
            with contextlib.suppress(OSError):
                found[int(name)] = identity(f'/proc/{name}/ns/{kind}')
    return found


def end(namespaces: Iterable[Identity], kind: str = 'net', patience: float = 3.0) -> None:
    """End what lives there: asked first, killed after `patience` seconds."""
    wanted = frozenset(namespaces)
    if not _ask(wanted, kind, signal.SIGTERM, patience):
        _ask(wanted, kind, signal.SIGKILL, patience)


def _ask(wanted: FrozenSet[Identity], kind: str, request: signal.Signals, patience: float) -> bool:
    """Send a signal to all, also to those started meanwhile, once each. Whether all are gone in time."""
    deadline = time.monotonic() + patience
    asked: Set[int] = set()
    while time.monotonic() < deadline:
        left = living_in(wanted, kind)
        if not left:
            return True
        for pid in left:
            if pid not in asked:
                _send(pid, kind, request, wanted)
        asked.update(left)
        time.sleep(0.002)
    return False


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


def _send(pid: int, kind: str, request: int, wanted: FrozenSet[Identity]) -> None:
    """Signal a process that is still the one that was found (pidfd_open(2) where Python has it)."""
    try:
        if not hasattr(os, 'pidfd_open'):
            os.kill(pid, request)
            return
        descriptor = os.pidfd_open(pid)
        try:
            # The pid may have been given away before the descriptor was opened, but not after.
            if identity(f'/proc/{pid}/ns/{kind}') in wanted:
                signal.pidfd_send_signal(descriptor, request)
        finally:
            os.close(descriptor)
    except (ProcessLookupError, FileNotFoundError):
        return
