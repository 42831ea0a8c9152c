# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away network namespaces for tests: made, entered, used and removed."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import subprocess
import time
from types import TracebackType
from typing import Any, Iterator, Optional, Type

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_COUNTER = itertools.count()


class Namespace:
    """One namespace, up between `with` and its end; `lo` is up, IPv6 addresses are usable at once.

    Without a name it gets one that no other process of tests can have.
    """

    def __init__(self, name: Optional[str] = None) -> None:
        self.name = name or f'rt-test-{os.getpid()}-{next(_COUNTER)}'
        self.path = f'/run/netns/{self.name}'

    def __enter__(self) -> Namespace:
        subprocess.run(['ip', 'netns', 'add', self.name], check=True)
        # Duplicate address detection would keep IPv6 addresses tentative for a second.
        self.run('sysctl', '-qw', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0')
        self.run('ip', 'link', 'set', 'lo', 'up')
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        subprocess.run(['ip', 'netns', 'del', self.name], check=True)

    def run(self, *command: str, stdin: str = '', check: bool = True) -> str:
        """Standard output of a command in the namespace; AssertionError with its stderr if it fails."""
        done = self.process(*command, stdin=stdin)
        if check and done.returncode:
            raise AssertionError(f'{" ".join(command)!r} in {self.name}: rc {done.returncode}: {done.stderr.strip()}')
        return done.stdout

    def process(self, *command: str, stdin: str = '') -> subprocess.CompletedProcess[str]:
        """The finished process of a command in the namespace, whatever its exit code was.

        nsenter and not `ip netns exec`, which mounts /sys anew each time: that is dear where the kernel is emulated.
        """
        whole = ['nsenter', f'--net={self.path}', *command]
        return subprocess.run(whole, input=stdin, capture_output=True, text=True, check=False)

    def ip(self, *arguments: str) -> Any:
        """What `ip -N -j -d` prints with these arguments, parsed (an empty list when it prints nothing)."""
        return json.loads(self.run('ip', '-N', '-j', '-d', *arguments) or '[]')

    def await_local_routes(self, *addresses: str) -> None:
        """Until IPv6 addresses have their routes in table local: the kernel adds them later, even without DAD."""
        limit = time.monotonic() + 10
        while not set(addresses) <= {route['dst'] for route in self.ip('-6', 'route', 'show', 'table', 'local')}:
            assert time.monotonic() < limit, f'{addresses} have no local routes after 10 s'

    def batch(self, text: str, *options: str) -> None:
        """Runs lines through `ip -batch -` (options such as '-6' come before)."""
        self.run('ip', *options, '-batch', '-', stdin=text)

    @contextlib.contextmanager
    def entered(self) -> Iterator[Namespace]:
        """The calling thread is inside the namespace meanwhile: sockets made here stay there."""
        home = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self.path)
            yield self
        finally:
            _set_by_descriptor(home)
            os.close(home)


def _setns(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_by_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _set_by_descriptor(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), 'setns')
