# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an unprivileged user's lab is written down, and how it is found again. No namespace is entered here.

A rootless lab lives in one user, mount and network namespace that a holder process keeps. Its pid,
start time and namespaces are in a file of the user's own directory; a holder that died, or whose
pid went to another process, is told by them.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from typing import List, Mapping, NamedTuple, Optional

from ..errors import PolicyError
from . import namespace, naming, processes

_PRIVATE = 0o700


class Holder(NamedTuple):
    """A lab's living holder process. `start` is in clock ticks since boot, `record` the file that tells of it."""

    pid: int
    start: int
    user: str
    record: str

    def path(self, name: str) -> str:
        """Where the holder's file of that absolute name is, seen from outside."""
        return f'/proc/{self.pid}/root{name}'

    def namespace(self, kind: str) -> str:
        """The holder's namespace of a kind (user, mnt, net), as a path."""
        return f'/proc/{self.pid}/ns/{kind}'


def directories(uid: int, environment: Mapping[str, str]) -> List[str]:
    """Where a user's labs may be written down, the best first.

    All are searched: a service or `su` may lack XDG_RUNTIME_DIR although the lab was made with it.
    """
    places = [f'/run/user/{uid}/returntraffic', f'/tmp/returntraffic-{uid}']
    runtime = environment.get('XDG_RUNTIME_DIR', '')
    if uid == os.geteuid() and os.path.isabs(runtime):
        places.insert(0, os.path.join(runtime, 'returntraffic'))
    return list(dict.fromkeys(places))


def find(lab: str, uid: int, environment: Mapping[str, str]) -> Optional[Holder]:
    """The living holder of a user's lab, if there is one."""
    for directory in directories(uid, environment):
        holder = _read(os.path.join(directory, f'{lab}.json')) if trusted(directory, uid) else None
        if holder is not None:
            return holder
    return None


def trusted(directory: str, uid: int) -> bool:
    """Whether a directory is the user's and nobody else can write there: /tmp is everybody's."""
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and stat.S_IMODE(found.st_mode) & 0o077 == 0


def directory_for_writing(uid: int, environment: Mapping[str, str]) -> str:
    """The first directory of the user's that is there or can be made; PolicyError if all are refused."""
    for directory in directories(uid, environment):
        with contextlib.suppress(OSError):
            os.mkdir(directory, _PRIVATE)
        if trusted(directory, uid):
            return directory
    places = ', '.join(directories(uid, environment))
    raise PolicyError('name', places, f'none of them is a directory of uid {uid} with mode 0700 to note the lab in')


def describe(user: str) -> str:
    """What is written down of the calling process as a holder."""
    pid = os.getpid()
    return json.dumps({'pid': pid, 'start': processes.start_time(pid), 'user': user})


def _read(record: str) -> Optional[Holder]:
    """The holder that a record tells of, if it is that very process and still there."""
    try:
        with open(record, encoding='utf-8') as file:
            data = json.load(file)
        holder = Holder(int(data['pid']), int(data['start']), str(data['user']), record)
        same = processes.start_time(holder.pid) == holder.start and not processes.ended(holder.pid)
        return holder if same and os.readlink(holder.namespace('user')) == holder.user else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def hosts(holder: Holder, lab: str) -> List[str]:
    """The hosts of a rootless lab, the switch too."""
    names = namespace.names(naming.namespace(lab, ''), holder.path(namespace.DIRECTORY))
    return [name[len(lab) + 1 :] for name in names]
