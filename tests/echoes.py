# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Echo servers for tests, TCP and UDP, in a process of their own inside a namespace."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from typing import Iterator, List, Tuple

from namespaces import Namespace


@contextlib.contextmanager
def echo(namespace: Namespace, *places: Tuple[str, int]) -> Iterator[None]:
    """Servers of both protocols at each (address, port), listening already when the body begins."""
    with namespace.entered():
        sockets = [_bound(kind, *place) for place in places for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    pid = os.fork()
    if pid == 0:
        try:
            _serve(sockets)
        finally:
            os._exit(1)
    for sock in sockets:
        sock.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(512)
    sock.setblocking(False)
    return sock


def _serve(sockets: List[socket.socket]) -> None:
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            take = _take_connection if sock.type == socket.SOCK_STREAM else _return_datagram
            selector.register(sock, selectors.EVENT_READ, take)
        while True:
            for key, _ in selector.select():
                with contextlib.suppress(OSError):
                    key.data(selector, key.fileobj)


def _return_datagram(_selector: selectors.BaseSelector, sock: socket.socket) -> None:
    data, peer = sock.recvfrom(1 << 16)
    sock.sendto(data, peer)


def _take_connection(selector: selectors.BaseSelector, sock: socket.socket) -> None:
    connection, _ = sock.accept()
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    selector.register(connection, selectors.EVENT_READ, _return_octets)


def _return_octets(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    """The buffer takes whatever a test sends, so that one stuck client never holds the others up."""
    try:
        data = connection.recv(1 << 16)
    except OSError:
        data = b''
    if not data or connection.send(data) < len(data):
        selector.unregister(connection)
        connection.close()
