# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs of unprivileged users: one user namespace, held by a process of the user's own."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Callable, Dict, Iterable, Mapping

from ..errors import KernelError, PolicyError
from . import namespace, processes, records
from .records import Holder

#: Settings that may forbid it, and how each value is to be read (user_namespaces(7); Ubuntu's and Debian's own).
_KNOBS = (
    ('kernel.unprivileged_userns_clone', lambda value: value == '0', '1'),
    ('user.max_user_namespaces', lambda value: value == '0', '10000'),
    ('kernel.apparmor_restrict_unprivileged_userns', lambda value: value not in ('', '0'), '0'),
    ('user.max_net_namespaces', lambda value: value == '0', '10000'),
    ('user.max_mnt_namespaces', lambda value: value == '0', '10000'),
)
_FLAGS = namespace.CLONE_NEWUSER | namespace.CLONE_NEWNS | namespace.CLONE_NEWNET


def start(lab: str) -> Holder:
    """Start the holder of a lab; PolicyError with the kernel setting that forbids it."""
    uid = os.getuid()
    directory = records.directory_for_writing(uid, os.environ)
    place = _open(directory)
    try:
        _spawn(lambda: _become_holder(lab, place), _hold)
    except PolicyError:
        # Nothing to note there, unless the user has other labs.
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        raise
    finally:
        os.close(place)
    holder = records.find(lab, uid, os.environ)
    if holder is None:
        raise KernelError('start', f'lab {lab}', f'its holder did not stay; nothing is written in {directory}')
    return holder


def _open(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError('open', directory, error.strerror or '', error.errno or 0) from error


def probe() -> None:
    """Whether this user may have a lab, without making one; PolicyError as `start`."""
    _spawn(_enter_new_user, lambda: None)


def enter(holder: Holder) -> None:
    """The calling process becomes root in the lab and sees its /run/netns. There is no way back."""
    paths = ((namespace.CLONE_NEWUSER, 'user'), (namespace.CLONE_NEWNET, 'net'), (namespace.CLONE_NEWNS, 'mnt'))
    # All are opened before any is entered: in the new mount namespace /proc may show something else.
    # The network namespace too, for only one of this user namespace's can be returned to later.
    opened = [(os.open(holder.namespace(name), os.O_RDONLY | os.O_CLOEXEC), kind) for kind, name in paths]
    for descriptor, kind in opened:
        namespace.enter(f'/proc/self/fd/{descriptor}', kind)
        os.close(descriptor)


def stop(holder: Holder) -> None:
    """End what lives in a rootless lab, and its holder; with it the kernel removes everything."""
    processes.end([namespace.identity(holder.namespace('user'))], kind='user')
    # The directory goes with the user's last lab.
    with contextlib.suppress(OSError):
        os.unlink(holder.record)
        os.rmdir(os.path.dirname(holder.record))


def _spawn(prepare: Callable[[], None], stay: Callable[[], None]) -> None:
    """Run `prepare` in a process of its own, which then does `stay`; PolicyError if the preparation failed."""
    answer, report = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        _detached(report, prepare, stay)
    os.close(report)
    os.waitpid(child, 0)
    with os.fdopen(answer, encoding='utf-8') as file:
        said = file.read()
    if said != 'ready':
        raise PolicyError('user', os.getuid(), said or 'the process that should hold the lab ended at once')


def _detached(report: int, prepare: Callable[[], None], stay: Callable[[], None]) -> None:
    """The rest of the life of a forked process: it must never return into the caller's code."""
    try:
        os.setsid()
        if os.fork() == 0:
            try:
                prepare()
                said = 'ready'
            except KernelError as error:
                said = refusal(error, read_settings())
            except OSError as error:
                said = f'its holder could not be set up: {error}'
            os.write(report, said.encode())
            os.close(report)
            if said == 'ready':
                stay()
    finally:
        os._exit(0)


def _become_holder(lab: str, place: int) -> None:
    _enter_new_user()
    namespace.mount('', '/', flags=namespace.MS_REC | namespace.MS_PRIVATE)
    namespace.mount('tmpfs', '/run', kind='tmpfs')
    # The record is written through the directory's descriptor: its path may lie below the new /run.
    user = os.readlink('/proc/self/ns/user')
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(f'.{lab}.new', flags, 0o600, dir_fd=place), 'w', encoding='utf-8') as file:
        file.write(records.describe(user))
    os.replace(f'.{lab}.new', f'{lab}.json', src_dir_fd=place, dst_dir_fd=place)


def _enter_new_user() -> None:
    """Root in a new user namespace, mapped to the user outside (user_namespaces(7))."""
    uid, gid = os.geteuid(), os.getegid()
    namespace.unshare(_FLAGS, 'user, mount and network namespace')
    for path, text in (('setgroups', 'deny'), ('uid_map', f'0 {uid} 1'), ('gid_map', f'0 {gid} 1')):
        try:
            with open(f'/proc/self/{path}', 'w', encoding='ascii') as file:
                file.write(text)
        except OSError as error:
            raise KernelError('write', f'/proc/self/{path}', error.strerror or '', error.errno or 0) from error


def _hold() -> None:
    """Stay, without anything of the process that started it, until the lab is removed."""
    os.chdir('/')
    null = os.open('/dev/null', os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, 1 << 16)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        signal.pause()


def read_settings() -> Dict[str, str]:
    """Those of the settings that this kernel has."""
    found: Dict[str, str] = {}
    for name, _forbids, _cure in _KNOBS:
        with contextlib.suppress(OSError), open('/proc/sys/' + name.replace('.', '/'), encoding='ascii') as file:
            found[name] = file.read().strip()
    return found


def refusal(error: KernelError, settings: Mapping[str, str]) -> str:
    """Why an unprivileged lab was refused: the setting, its value and what it would have to be. Pure."""
    culprits = [
        f'{name} is {settings[name]} and would have to be {cure}'
        for name, forbids, cure in _KNOBS
        if name in settings and forbids(settings[name])
    ]
    return f'a lab without root is refused ({error}): {_reason(culprits, settings)}'


def _reason(culprits: Iterable[str], settings: Mapping[str, str]) -> str:
    named = '; '.join(culprits)
    if named:
        return f'{named}, or run as root'
    values = ', '.join(f'{name}={value}' for name, value in settings.items())
    return f'no known setting forbids it ({values}), so a container or security module does; run as root'
