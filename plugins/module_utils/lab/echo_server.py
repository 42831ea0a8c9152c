# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An echo server for many TCP connections and UDP sockets in one thread, which nobody can make wait."""

from __future__ import annotations

import json
import selectors
import socket
import struct
from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

from . import echo_sockets
from .echo_spec import Listener

#: Changed whenever a running server of an older version should be replaced.
REVISION = 1
_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_CHUNK = 1 << 16
#: A connection that has this much unsent is not read from until its peer takes some of it, in bytes.
_BACKLOG_LIMIT = 1 << 20
#: Datagrams answered in a row before the other sockets get their turn.
_BURST = 64
_CREDENTIALS = struct.Struct('=iII')


class EchoServer:
    """Serves until somebody asks it to stop through its control socket."""

    def __init__(
        self, control: socket.socket, sockets: Iterable[Tuple[Listener, socket.socket]], owners: Tuple[int, ...]
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._stopper: Optional[socket.socket] = None
        self._owners = owners
        self._pending: Dict[socket.socket, bytearray] = {}
        self._draining: Set[socket.socket] = set()
        opened = list(sockets)
        self._told = {'revision': REVISION, 'listeners': [list(listener) for listener, _socket in opened]}
        self._watch(control, self._accept_control)
        for listener, item in opened:
            self._watch(item, self._accept if listener.protocol == 'tcp' else self._datagrams)

    def run(self) -> None:
        """Serve until told to stop; then every socket is closed before who asked for it hears so."""
        while self._stopper is None:
            for key, events in self._selector.select():
                key.data(key.fileobj, events)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._stopper:
                key.fileobj.close()
        self._stopper.close()

    def _watch(self, item: socket.socket, handler: Callable[[Any, int], None]) -> None:
        item.setblocking(False)
        self._selector.register(item, _READ, handler)

    def _accept(self, listener: socket.socket, _events: int) -> None:
        try:
            connection, _peer = listener.accept()
        except OSError:
            # Gone again before it was accepted.
            return
        self._pending[connection] = bytearray()
        self._watch(connection, self._connection)

    def _connection(self, connection: socket.socket, events: int) -> None:
        buffer = self._pending[connection]
        try:
            if events & _READ:
                data = connection.recv(_CHUNK)
                buffer += data
                if not data:
                    self._draining.add(connection)
            if buffer:
                del buffer[: connection.send(buffer)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._close(connection)
            return
        self._ask_for_turn(connection, buffer)

    def _ask_for_turn(self, connection: socket.socket, buffer: bytearray) -> None:
        """Read unless too much waits to be sent; write only when something does."""
        readable = connection not in self._draining
        wanted = (_READ if readable and len(buffer) < _BACKLOG_LIMIT else 0) | (_WRITE if buffer else 0)
        if wanted:
            self._selector.modify(connection, wanted, self._connection)
        else:
            # The peer has sent its last byte and has all of its echo.
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._pending.pop(connection, None)
        self._draining.discard(connection)
        connection.close()

    def _datagrams(self, item: socket.socket, _events: int) -> None:
        for _turn in range(_BURST):
            if not echo_sockets.echo_datagram(item):
                return

    def _accept_control(self, control: socket.socket, _events: int) -> None:
        try:
            connection, _peer = control.accept()
        except OSError:
            return
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(raw)[1] not in self._owners:
            connection.close()
            return
        self._watch(connection, self._answer_control)

    def _answer_control(self, connection: socket.socket, _events: int) -> None:
        """One question, one answer; the end of the line answers `stop`."""
        try:
            question = connection.recv(_CHUNK)
            if question == b'stop':
                self._stopper = connection
                return
            connection.send(json.dumps(self._told).encode())
        except OSError:
            pass
        self._selector.unregister(connection)
        connection.close()


def configuration(listeners: List[Listener]) -> Dict[str, Any]:
    """What a server with these listeners would tell of itself."""
    return {'revision': REVISION, 'listeners': [list(listener) for listener in listeners]}
