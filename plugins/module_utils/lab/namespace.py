# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named network namespaces: made, entered, removed, as `ip netns` does it, without a process each time.

A name is a bind mount of the namespace in /run/netns (ip-netns(8)), so both see each other's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from typing import Callable, Iterator, List, Tuple

from ..errors import KernelError

DIRECTORY = '/run/netns'

# linux/sched.h and linux/mount.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000
_MNT_DETACH = 2
_OWN = '/proc/thread-self/ns/net'

_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, operation: str, subject: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise KernelError(operation, subject, os.strerror(number), number)


def unshare(flags: int, subject: str) -> None:
    """unshare(2); `subject` says in an error what it was for."""
    _checked(_LIBC.unshare(ctypes.c_int(flags)), 'unshare', subject)


def mount(source: str, target: str, kind: str = 'none', flags: int = 0) -> None:
    """mount(2) without options."""
    result = _LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
    _checked(result, 'mount', target)


def enter(path: str, kind: int = 0) -> None:
    """setns(2) for the calling thread; kind is a CLONE_NEW* flag, 0 for any."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError('enter', path, error.strerror or '', error.errno or 0) from error
    try:
        _checked(_LIBC.setns(descriptor, ctypes.c_int(kind)), 'enter', path)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread is in the namespace (a name or a path) meanwhile; so is what it starts."""
    with _returning():
        enter(path_of(name), CLONE_NEWNET)
        yield


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _checked(_LIBC.setns(home, CLONE_NEWNET), 'return from', 'the network namespace')
        os.close(home)


def path_of(name: str) -> str:
    """Where a namespace of this name is, or would be. A path such as /proc/PID/ns/net stands for itself."""
    return os.path.join(DIRECTORY, name)


def identity(path: str) -> Tuple[int, int]:
    """Device and inode: equal for two paths exactly when they are one namespace (namespaces(7))."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def alive(path: str) -> bool:
    """Whether the path is a namespace, and not a file that an unmounted one left behind."""
    try:
        return os.stat(path).st_dev == os.stat(_OWN).st_dev
    except OSError:
        return False


def names(prefix: str, directory: str = DIRECTORY) -> List[str]:
    """Names in /run/netns that start so, sorted; dead ones too."""
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith(prefix))
    except OSError:
        return []


def create(name: str, prepare: Callable[[], None]) -> None:
    """Make a namespace; `prepare` runs inside before it gets its name, so nobody sees it half made."""
    _share_directory()
    with _returning():
        unshare(CLONE_NEWNET, f'network namespace {name}')
        prepare()
        os.close(os.open(path_of(name), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0))
        try:
            mount(_OWN, path_of(name), flags=MS_BIND)
        except KernelError:
            os.unlink(path_of(name))
            raise


def remove(name: str) -> None:
    """Take the name away; the kernel ends the namespace when nothing uses it any more."""
    path = path_of(name)
    # A file that is not mounted on is what a crash leaves: EINVAL, and only the file to remove.
    _LIBC.umount2(path.encode(), ctypes.c_int(_MNT_DETACH))
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError('remove', path, error.strerror or '', error.errno or 0) from error


def _share_directory() -> None:
    """As ip-netns(8): a removal must reach the other mount namespaces, or they keep the namespace alive."""
    try:
        os.makedirs(DIRECTORY, mode=stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    except FileExistsError:
        pass
    except OSError as error:
        raise KernelError('create', DIRECTORY, error.strerror or '', error.errno or 0) from error
    # Sharing is the probe: it fails on what is no mount point. os.path.ismount cannot see a directory that is bound
    # to itself, and binding it once more doubles every mount below it.
    try:
        mount('', DIRECTORY, flags=MS_SHARED | MS_REC)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        mount(DIRECTORY, DIRECTORY, flags=MS_BIND | MS_REC)
        mount('', DIRECTORY, flags=MS_SHARED | MS_REC)
