# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of an echo server, bound and ready before anybody is told that it runs."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Iterable, List, Tuple

from ..errors import KernelError
from .echo_spec import Listener

#: linux/in.h and linux/in6.h; Python names only some of them.
_IP_FREEBIND, _IP_PKTINFO, _IPV6_FREEBIND = 15, 8, 78
_BACKLOG = 1024
#: Room for a burst of datagrams that come while the server does something else, in bytes.
_RECEIVE_BUFFER = 1 << 20
_MAX_DATAGRAM = 1 << 16


def open_all(listeners: Iterable[Listener]) -> List[Tuple[Listener, socket.socket]]:
    """Bound sockets of all listeners, or KernelError and none."""
    opened: List[Tuple[Listener, socket.socket]] = []
    try:
        for listener in listeners:
            opened.append((listener, _open(listener)))
    except OSError as error:
        for _listener, item in opened:
            item.close()
        raise KernelError('listen on', str(listener), error.strerror or str(error), error.errno or 0) from error
    return opened


def _open(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ':' in listener.address else socket.AF_INET
    kind = socket.SOCK_STREAM if listener.protocol == 'tcp' else socket.SOCK_DGRAM
    opened = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        _prepare(opened, family, kind)
        opened.bind((listener.address, listener.port))
        if kind == socket.SOCK_STREAM:
            opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _prepare(opened: socket.socket, family: int, kind: int) -> None:
    if family == socket.AF_INET6:
        # The IPv4 side has a listener of its own; sharing would make one of the two fail.
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    if kind == socket.SOCK_STREAM:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def echo_datagram(opened: socket.socket) -> bool:
    """Answer one datagram from the very address it was sent to; False when none was waiting."""
    try:
        data, ancillary, _flags, peer = opened.recvmsg(_MAX_DATAGRAM, socket.CMSG_SPACE(20))
    except BlockingIOError:
        return False
    except OSError:
        # An ICMP error about an earlier answer; the next datagram is not concerned.
        return True
    try:
        opened.sendmsg([data], [_source(item) for item in ancillary if _is_packet_info(item)], 0, peer)
    except OSError as error:
        # UDP promises nothing: an answer that cannot leave (no route, full queue) is lost, the server is not.
        if error.errno == errno.EBADF:
            raise
    return True


def _is_packet_info(item: Tuple[int, int, bytes]) -> bool:
    return item[:2] in ((socket.IPPROTO_IP, _IP_PKTINFO), (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO))


def _source(item: Tuple[int, int, bytes]) -> Tuple[int, int, bytes]:
    """The packet info of an answer (ip(7), ipv6(7)): the source address, and no interface.

    With an interface the answer would be tied to it, and routing would have nothing to decide.
    """
    level, kind, data = item
    if level == socket.IPPROTO_IP:
        # struct in_pktinfo: index, spec_dst, addr; what came as addr is the source to use.
        return level, kind, struct.pack('=I4s4s', 0, data[8:12], b'\0' * 4)
    # A link-local source means nothing without its interface.
    index = data[16:20] if data[:2] == b'\xfe\x80' else b'\0' * 4
    return level, kind, data[:16] + index
