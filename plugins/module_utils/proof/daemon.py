# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture that outlives the module that started it, until it is asked for or its time is over.

It is reached by an abstract unix socket (unix(7)): that has no file, so nothing can be
left behind, and it is private to the network namespace whose packets are captured.
Both ends check who the other is (SO_PEERCRED): the same user, or root.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from typing import Callable, Iterable, Iterator, List, NoReturn, Optional, Sequence

from ..errors import KernelError, PolicyError
from ..objects import Link
from .capture import Capture, Captured, from_json, to_json

#: Seconds after which a capture that nobody asked for ends by itself.
MAX_SECONDS = 120
_CREDENTIALS = struct.Struct('=iII')
#: Seconds without a word from a capture that was asked to stop.
_PATIENCE = 30.0
_NAME = 'returntraffic-capture-'


_Links = Callable[[], Iterable[Link]]


def start(token: str, addresses: Sequence[str], links: _Links, max_seconds: int = MAX_SECONDS) -> None:
    """Starts to capture in the background; once this returns, no packet is missed.

    `links` is called when the capture ends, in the captured namespace. PolicyError if
    a capture of this token is running already; KernelError if the kernel refuses one.
    """
    listener = _listen(token)
    with listener, Capture(addresses) as capture:
        if os.fork() == 0:
            _in_background(listener, capture, links, max_seconds)


def stop(token: str) -> Captured:
    """All that was captured; the capture ends. PolicyError if none of this token is running."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(_address(token))
        except ConnectionRefusedError as problem:
            reason = 'no such capture is running here: it was not started, or it ended after its max_seconds'
            raise PolicyError('token', token, reason) from problem
        _check_peer(connection, token)
        return _captured(token, _read_all(connection))


def _read_all(connection: socket.socket) -> bytes:
    """What came before the other side ended, in whatever way."""
    parts: List[bytes] = []
    connection.settimeout(_PATIENCE)
    with contextlib.suppress(OSError):
        while not parts or parts[-1]:
            parts.append(connection.recv(1 << 20))
    return b''.join(parts)


def _captured(token: str, answer: bytes) -> Captured:
    try:
        return from_json(json.loads(answer))
    except (ValueError, KeyError, TypeError) as problem:
        raise KernelError(
            'stop', f'capture {token}', 'it gave no answer: it died, or belongs to another user'
        ) from problem


def _address(token: str) -> str:
    return f'\0{_NAME}{token}'


def _listen(token: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(_address(token))
    except OSError as problem:
        listener.close()
        raise PolicyError('token', token, f'another capture has it: {problem.strerror}') from problem
    listener.listen(1)
    return listener


def _in_background(listener: socket.socket, capture: Capture, links: _Links, max_seconds: int) -> NoReturn:
    """The child's whole life. It never returns into the module, whose exit it must not repeat."""
    try:
        os.setsid()
        _leave_descriptors([listener.fileno(), capture.fileno()])
        _serve(listener, capture, links, time.monotonic() + max_seconds)
    finally:
        os._exit(0)


def _leave_descriptors(kept: List[int]) -> None:
    """Whoever waits for the module's output to end must not wait for us."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for name in os.listdir('/proc/self/fd'):
        if int(name) > 2 and int(name) not in kept:
            # The listing's own descriptor is in the list, and closed by now.
            with contextlib.suppress(OSError):
                os.close(int(name))


def _serve(listener: socket.socket, capture: Capture, links: _Links, deadline: float) -> None:
    poll = select.poll()
    poll.register(capture, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while time.monotonic() < deadline:
        ready = [descriptor for descriptor, _event in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)]
        if capture.fileno() in ready:
            capture.read()
        if listener.fileno() in ready:
            with _accept(listener) as connection:
                if connection is not None:
                    # First, so that nobody reaches a capture that has given its answer away.
                    listener.close()
                    answer = json.dumps(to_json(capture.captured(list(links()))))
                    connection.sendall(answer.encode())
                    return


@contextlib.contextmanager
def _accept(listener: socket.socket) -> Iterator[Optional[socket.socket]]:
    connection, _peer = listener.accept()
    with connection:
        yield connection if _same_user(connection) else None


def _check_peer(connection: socket.socket, token: str) -> None:
    if not _same_user(connection):
        raise PolicyError('token', token, 'the capture belongs to another user')


def _same_user(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in (0, os.geteuid())
