# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find, start and stop the echo server of a network namespace.

It is found by an abstract socket (unix(7)), which belongs to the network namespace and vanishes with
the process: there is no pid file that could lie.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
from typing import Any, Dict, List, Optional, Set, Tuple

from ..errors import KernelError
from . import echo_sockets
from .echo_server import EchoServer
from .echo_spec import Listener

_CREDENTIALS = struct.Struct('=iII')
#: Seconds in which a server must answer, or end.
_PATIENCE = 5.0
#: The most that a configuration takes, in bytes.
_ANSWER = 1 << 20


class EchoControl:
    """The echo server of one name in the namespace of the caller."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._address = f'\0returntraffic-echo-{name}'.encode()

    def running(self) -> Optional[Dict[str, Any]]:
        """What the server tells of itself; None when there is none."""
        connection = self._connect()
        if connection is None:
            return None
        with connection:
            self._send(connection, b'configuration')
            answer = self._until_closed(connection)
        try:
            return dict(json.loads(answer))
        except ValueError as error:
            raise KernelError('ask', self._subject(), f'answered {answer[:80]!r}') from error

    def stop(self) -> None:
        """End the server; returns when its sockets are closed."""
        connection = self._connect()
        if connection is not None:
            with connection:
                self._send(connection, b'stop')
                self._until_closed(connection)

    def start(self, listeners: List[Listener]) -> None:
        """Start the server in a process of its own; returns when all its sockets are bound."""
        control = self._own()
        try:
            sockets = echo_sockets.open_all(listeners)
            child = os.fork()
            if child == 0:
                _serve(control, sockets)
            os.waitpid(child, 0)
            for _listener, item in sockets:
                item.close()
        finally:
            control.close()

    def _own(self) -> socket.socket:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            control.bind(self._address)
            control.listen()
        except OSError as error:
            control.close()
            raise KernelError('start', self._subject(), error.strerror or '', error.errno or 0) from error
        return control

    def _connect(self) -> Optional[socket.socket]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(self._address)
        except ConnectionRefusedError:
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise KernelError('ask', self._subject(), error.strerror or str(error), error.errno or 0) from error
        self._check_owner(connection)
        return connection

    def _check_owner(self, connection: socket.socket) -> None:
        """Anybody in the namespace could have taken the name."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _gid = _CREDENTIALS.unpack(raw)
        if uid not in (0, os.geteuid()):
            connection.close()
            raise KernelError('ask', self._subject(), f'its name is taken by process {pid} of uid {uid}')

    def _send(self, connection: socket.socket, question: bytes) -> None:
        try:
            connection.sendall(question)
        except OSError as error:
            raise KernelError('ask', self._subject(), error.strerror or str(error), error.errno or 0) from error

    def _until_closed(self, connection: socket.socket) -> bytes:
        answer = b''
        try:
            while len(answer) < _ANSWER:
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
        except ConnectionResetError:
            return answer
        except OSError as error:
            raise KernelError('ask', self._subject(), f'no answer in {_PATIENCE:.0f} s') from error
        return answer

    def _subject(self) -> str:
        return f'echo server {self._name!r}'


def _serve(control: socket.socket, sockets: List[Tuple[Listener, socket.socket]]) -> None:
    """The rest of the life of a forked process: it must never return into the caller's code."""
    try:
        os.setsid()
        if os.fork() == 0:
            os.chdir('/')
            _let_go(keep={control.fileno(), *(item.fileno() for _listener, item in sockets)})
            EchoServer(control, sockets, (0, os.geteuid())).run()
    finally:
        os._exit(0)


def _let_go(keep: Set[int]) -> None:
    """Leave all files of the process that started this one: somebody may wait for their end."""
    null = os.open('/dev/null', os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for name in os.listdir('/proc/self/fd'):
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))
    # A connection is a descriptor; the usual soft limit is 1024.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
