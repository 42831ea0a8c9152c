# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of flow as a client drives them: one class a kind, none of them ever blocks.

Nothing is sent twice here: what the kernel repeats (a SYN, a neighbour solicitation)
it repeats within the flow's deadline, and the rest is a loss that the proof must see.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import time
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from .spec import Answer, Flow

#: Octets each way of a pmtu flow: enough for many segments of full size after the first.
PMTU_OCTETS = 60000

_FAMILIES = {'ipv4': socket.AF_INET, 'ipv6': socket.AF_INET6}
# linux/in.h, linux/in6.h: Python's socket module does not name these.
_RECVERR = {'ipv4': (socket.IPPROTO_IP, 11), 'ipv6': (socket.IPPROTO_IPV6, 25)}
_ERROR_QUEUE = 0x2000
# linux/errqueue.h: struct sock_extended_err, of which origin, type and code matter.
_EXTENDED_ERROR = struct.Struct('=IBBBBII')
_ORIGIN_ICMP = (2, 3)
_PORT_UNREACHABLE = {'ipv4': (3, 3), 'ipv6': (1, 4)}
_ABORT = struct.pack('ii', 1, 0)


class Outcome(NamedTuple):
    """How a flow ended for the client."""

    answered: bool
    detail: str


class Probe:
    """One flow in flight. `start` sends, `advance` takes what has come; both never block."""

    protocol = socket.IPPROTO_TCP
    type = socket.SOCK_STREAM

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.icmp_id = -1
        self.payload = flow.payload.encode() or b'returntraffic ' + os.urandom(8).hex().encode()
        self.socket = self.open()
        self.socket.setblocking(False)
        self.started = time.monotonic()
        self.local: Tuple[str, int] = ('', 0)

    def open(self) -> socket.socket:
        return socket.socket(_FAMILIES[self.flow.family], self.type, self.protocol)

    @property
    def deadline(self) -> float:
        return self.started + self.flow.timeout

    @property
    def events(self) -> int:
        return selectors.EVENT_READ

    def start(self) -> None:
        """Binds and sends the first packet; OSError when this host cannot send it."""
        if self.flow.source is not None:
            self.socket.bind((self.flow.source, 0))
        self.started = time.monotonic()
        self.send()
        # Now, for the kernel takes the port back from a connection that was refused.
        address, port = self.socket.getsockname()[:2]
        self.local = (address.split('%')[0], 0 if self.flow.kind == 'icmp' else port)

    def send(self) -> None:
        raise NotImplementedError

    def advance(self) -> Optional[Outcome]:
        """The outcome once there is one; None while the flow is still under way."""
        raise NotImplementedError

    def expected(self, data: bytes) -> Outcome:
        if self.flow.expect == 'any' or data == self.payload:
            return Outcome(True, f'{len(data)} octets came back')
        return Outcome(False, f'{len(data)} octets came back, not those that were sent')

    def finish(self, outcome: Outcome, sent: bool = True) -> Answer:
        """The answer; a connection that failed is reset, so that it does not go on in the kernel."""
        elapsed = (time.monotonic() - self.started) * 1000
        if self.socket.type == socket.SOCK_STREAM and not outcome.answered:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self.socket.close()
        return answer_of(self.flow, outcome, sent)._replace(
            local_address=self.local[0],
            local_port=self.local[1],
            icmp_id=self.icmp_id,
            rtt_ms=round(elapsed, 3),
        )


class _Tcp(Probe):
    """Connects, sends the payload, reads until all of it is back."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.connected = False
        self.unsent = memoryview(self.payload)
        self.received = bytearray()

    @property
    def events(self) -> int:
        writing = not self.connected or len(self.unsent)
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)

    def send(self) -> None:
        problem = self.socket.connect_ex((self.flow.vip, self.flow.port))
        if problem not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            raise OSError(problem, os.strerror(problem))

    def advance(self) -> Optional[Outcome]:
        if not self.connected:
            problem = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                return self.refused(problem)
            self.connected = True
        return self.open_port()

    def refused(self, problem: int) -> Outcome:
        return Outcome(False, os.strerror(problem))

    def open_port(self) -> Optional[Outcome]:
        if self.flow.expect == 'connect':
            return Outcome(True, 'connected')
        self.send_more()
        data = self.socket.recv(1 << 16)
        if not data:
            return Outcome(False, f'closed after {len(self.received)} of {len(self.payload)} octets')
        self.received += data
        whole = len(self.received) >= len(self.payload) or self.flow.expect == 'any'
        return self.expected(bytes(self.received)) if whole else None

    def send_more(self) -> None:
        """A full send buffer must not keep us from reading: the echo server may wait for just that."""
        with contextlib.suppress(BlockingIOError):
            if len(self.unsent):
                self.unsent = self.unsent[self.socket.send(self.unsent) :]


class _TcpClosed(_Tcp):
    """The answer of a closed port is a reset."""

    def refused(self, problem: int) -> Outcome:
        return Outcome(problem == errno.ECONNREFUSED, os.strerror(problem))

    def open_port(self) -> Optional[Outcome]:
        return Outcome(False, 'the port is open')


class _PathMtu(_Tcp):
    """So much each way that segments of full size meet the narrowest link."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.payload = (self.payload * (PMTU_OCTETS // len(self.payload) + 1))[:PMTU_OCTETS]
        self.unsent = memoryview(self.payload)


class _Udp(Probe):
    """One datagram out, the same one back; connected, so that only the VIP itself can answer."""

    protocol = socket.IPPROTO_UDP
    type = socket.SOCK_DGRAM

    def send(self) -> None:
        self.socket.setsockopt(*_RECVERR[self.flow.family], 1)
        self.socket.connect((self.flow.vip, self.flow.port))
        self.socket.send(self.payload)

    def advance(self) -> Optional[Outcome]:
        error = self.queued_error()
        if error is not None:
            return self.refused(error)
        return self.answer(self.socket.recv(1 << 16))

    def answer(self, data: bytes) -> Outcome:
        return self.expected(data)

    def refused(self, error: Tuple[int, int]) -> Outcome:
        closed = error == _PORT_UNREACHABLE[self.flow.family]
        return Outcome(False, 'port unreachable' if closed else f'ICMP error, type {error[0]} code {error[1]}')

    def queued_error(self) -> Optional[Tuple[int, int]]:
        """Type and code of the ICMP error that came back (ip(7), IP_RECVERR)."""
        try:
            ancillary = self.socket.recvmsg(1 << 11, 512, _ERROR_QUEUE)[1]
        except BlockingIOError:
            return None
        for level, kind, data in ancillary:
            if (level, kind) == _RECVERR[self.flow.family] and len(data) >= _EXTENDED_ERROR.size:
                _errno, origin, number, code = _EXTENDED_ERROR.unpack_from(data)[:4]
                return (number, code) if origin in _ORIGIN_ICMP else None
        return None


class _UdpClosed(_Udp):
    """The answer of a closed port is an ICMP port unreachable."""

    def answer(self, data: bytes) -> Outcome:
        return Outcome(False, 'the port is open')

    def refused(self, error: Tuple[int, int]) -> Outcome:
        return super().refused(error)._replace(answered=error == _PORT_UNREACHABLE[self.flow.family])


class _Icmp(Probe):
    """One echo request. A raw socket where we may have one, else a ping socket (icmp(7))."""

    def open(self) -> socket.socket:
        family = _FAMILIES[self.flow.family]
        protocol = socket.IPPROTO_ICMP if self.flow.family == 'ipv4' else socket.IPPROTO_ICMPV6
        try:
            raw = socket.socket(family, socket.SOCK_RAW, protocol)
        except PermissionError:
            return socket.socket(family, socket.SOCK_DGRAM, protocol)
        self.icmp_id = _next_icmp_id()
        return raw

    def send(self) -> None:
        self.socket.connect((self.flow.vip, 0))
        self.socket.send(echo_request(self.flow.family, max(self.icmp_id, 0), self.payload))
        if self.socket.type == socket.SOCK_DGRAM:
            self.icmp_id = self.socket.getsockname()[1]

    def advance(self) -> Optional[Outcome]:
        data = self.socket.recv(1 << 16)
        if self.flow.family == 'ipv4' and self.socket.type == socket.SOCK_RAW:
            data = data[(data[0] & 15) * 4 :]
        reply = 0 if self.flow.family == 'ipv4' else 129
        if len(data) < 8 or data[0] != reply or struct.unpack_from('!H', data, 4)[0] != self.icmp_id:
            return None
        return self.expected(data[8:])


def echo_request(family: str, ident: int, payload: bytes) -> bytes:
    """The ICMP message; its checksum is left to the kernel for IPv6, as RFC 3542 has it."""
    if family == 'ipv6':
        return struct.pack('!BBHHH', 128, 0, 0, ident, 1) + payload
    blank = struct.pack('!BBHHH', 8, 0, 0, ident, 1) + payload
    return blank[:2] + struct.pack('!H', checksum(blank)) + blank[4:]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b'\0' * (len(data) % 2)
    total: int = sum(struct.unpack(f'!{len(padded) // 2}H', padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


_icmp_ids: Dict[int, int] = {}


def _next_icmp_id() -> int:
    """Different within this process, and beginning anywhere, for other processes ping too."""
    process = os.getpid()
    last = _icmp_ids.get(process)
    following = struct.unpack('=H', os.urandom(2))[0] if last is None else (last + 1) % 0x10000
    _icmp_ids[process] = following
    return following


PROBES: Dict[str, Callable[[Flow], Probe]] = {
    'tcp': _Tcp,
    'udp': _Udp,
    'icmp': _Icmp,
    'tcp_closed': _TcpClosed,
    'udp_closed': _UdpClosed,
    'pmtu': _PathMtu,
}


def answer_of(flow: Flow, outcome: Outcome, sent: bool = True) -> Answer:
    """The answer to a flow, without what only its socket knows."""
    return Answer(
        flow.client, flow.target, flow.vip, flow.family, flow.kind, flow.path, flow.port,
        sent=sent, answered=outcome.answered, detail=outcome.detail,
    )  # fmt: skip
