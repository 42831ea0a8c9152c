# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes of an IP packet to a `Frame`: what the verdict needs to know of it.

Pure, and total: any bytes give a Frame or None, never an exception, since what
comes from a wire may be cut off or forged.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

#: ICMP types whose payload is the packet they are about (RFC 792, RFC 4443: below 128).
_ERRORS_V4 = (3, 4, 5, 11, 12)
_ECHO_V4 = (0, 8)
_ECHO_V6 = (128, 129)
_FLAGS = 'FSRPAUEC'

#: IPv6 extension headers that may stand between the header and the transport (RFC 8200).
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 43, 44, 51, 60
_MOST_EXTENSIONS = 16


class Quote(NamedTuple):
    """The packet an ICMP error is about, as far as the error quotes it."""

    proto: int
    src: str
    dst: str
    sport: int = 0
    dport: int = 0
    icmp_id: int = -1


class Frame(NamedTuple):
    """One IP packet as it was seen on one NIC.

    `time` is the kernel's stamp in seconds since the epoch; `length` the whole IP
    packet in octets; `offset` the octets before this fragment (0: not a fragment,
    or the first one); `vlan` says that a VLAN tag was on it where it was seen.
    Ports are 0 and ICMP numbers -1 where the packet has none.
    """

    time: float
    nic: str
    outgoing: bool
    family: str
    proto: int
    src: str
    dst: str
    sport: int = 0
    dport: int = 0
    icmp_type: int = -1
    icmp_code: int = -1
    icmp_id: int = -1
    flags: str = ''
    length: int = 0
    ident: int = 0
    offset: int = 0
    vlan: bool = False
    quote: Optional[Quote] = None

    @property
    def too_big(self) -> bool:
        """Whether it is the ICMP error that path MTU discovery lives on."""
        if self.proto == ICMPV6:
            return self.icmp_type == 2
        return self.proto == ICMP and (self.icmp_type, self.icmp_code) == (3, 4)


class _Header(NamedTuple):
    """An IP header; `start` is where its payload begins."""

    family: str
    proto: int
    src: str
    dst: str
    start: int
    length: int
    ident: int
    offset: int


class _Transport(NamedTuple):
    """What the transport header adds to a Frame."""

    sport: int = 0
    dport: int = 0
    icmp_type: int = -1
    icmp_code: int = -1
    icmp_id: int = -1
    flags: str = ''
    quote: Optional[Quote] = None


_NOTHING = _Transport()


def parse(
    packet: bytes, time: float = 0.0, nic: str = '', outgoing: bool = False, vlan: bool = False
) -> Optional[Frame]:
    """The Frame of a packet that begins with its IP header; None if it is not IPv4 or IPv6."""
    header = _ip_header(packet)
    if header is None:
        return None
    found = _transport(packet, header)
    return Frame(
        time, nic, outgoing, header.family, header.proto, header.src, header.dst,
        found.sport, found.dport, found.icmp_type, found.icmp_code, found.icmp_id, found.flags,
        header.length, header.ident, header.offset, vlan, found.quote,
    )  # fmt: skip


def from_row(row: Sequence[Any]) -> Frame:
    """The Frame that went through JSON, which knows only lists."""
    frame = Frame(*row)
    return frame if frame.quote is None else frame._replace(quote=Quote(*frame.quote))


def _ip_header(data: bytes) -> Optional[_Header]:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        return _header_v4(data)
    if version == 6 and len(data) >= 40:
        return _header_v6(data)
    return None


def _header_v4(data: bytes) -> Optional[_Header]:
    start = (data[0] & 15) * 4
    if start < 20:
        return None
    length, ident, fragment = struct.unpack_from('!HHH', data, 2)
    src, dst = socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20])
    return _Header('ipv4', data[9], src, dst, start, length, ident, (fragment & 0x1FFF) * 8)


def _header_v6(data: bytes) -> _Header:
    length = struct.unpack_from('!H', data, 4)[0] + 40
    proto, start, ident, offset = _extensions(data)
    src, dst = socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
    return _Header('ipv6', proto, src, dst, start, length, ident, offset)


def _extensions(data: bytes) -> Tuple[int, int, int, int]:
    """Behind IPv6's extension headers: (transport protocol, its start, fragment's ident, its offset)."""
    proto, at, ident, offset = data[6], 40, 0, 0
    for _extension in range(_MOST_EXTENSIONS):
        if at + 8 > len(data) or offset:
            break
        if proto == _FRAGMENT:
            place, ident = struct.unpack_from('!HI', data, at + 2)
            offset = place & 0xFFF8
            proto, at = data[at], at + 8
        elif proto == _AUTHENTICATION:
            proto, at = data[at], at + (data[at + 1] + 2) * 4
        elif proto in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
            proto, at = data[at], at + (data[at + 1] + 1) * 8
        else:
            break
    return proto, at, ident, offset


def _transport(data: bytes, header: _Header) -> _Transport:
    """Of a later fragment there is nothing to read: its payload is not a transport header."""
    reader = _READERS.get((header.family, header.proto))
    if reader is None or header.offset or header.start + 4 > len(data):
        return _NOTHING
    return reader(data, header.start)


def _ports(data: bytes, at: int) -> _Transport:
    sport, dport = struct.unpack_from('!HH', data, at)
    return _Transport(sport, dport)


def _tcp(data: bytes, at: int) -> _Transport:
    bits = data[at + 13] if at + 13 < len(data) else 0
    flags = ''.join(name for place, name in enumerate(_FLAGS) if bits >> place & 1)
    return _ports(data, at)._replace(flags=flags)


def _icmp(data: bytes, at: int) -> _Transport:
    return _icmp_message(data, at, _ECHO_V4, data[at] in _ERRORS_V4)


def _icmp_v6(data: bytes, at: int) -> _Transport:
    return _icmp_message(data, at, _ECHO_V6, data[at] < 128)


def _icmp_message(data: bytes, at: int, echo: Tuple[int, int], error: bool) -> _Transport:
    kind, code = data[at], data[at + 1]
    if error:
        return _Transport(icmp_type=kind, icmp_code=code, quote=_quote(data[at + 8 :]))
    if kind in echo and at + 6 <= len(data):
        return _Transport(icmp_type=kind, icmp_code=code, icmp_id=struct.unpack_from('!H', data, at + 4)[0])
    return _Transport(icmp_type=kind, icmp_code=code)


def _quote(inner: bytes) -> Optional[Quote]:
    """The quoted packet; an error about an error is not quoted again (RFC 1122 forbids those)."""
    header = _ip_header(inner)
    if header is None:
        return None
    icmp = header.proto in (ICMP, ICMPV6)
    found = _NOTHING if icmp and not _is_echo(inner, header) else _transport(inner, header)
    return Quote(header.proto, header.src, header.dst, found.sport, found.dport, found.icmp_id)


def _is_echo(data: bytes, header: _Header) -> bool:
    echo = _ECHO_V4 if header.family == 'ipv4' else _ECHO_V6
    return header.start < len(data) and data[header.start] in echo


_READERS: Dict[Tuple[str, int], Callable[[bytes, int], _Transport]] = {
    ('ipv4', TCP): _tcp,
    ('ipv6', TCP): _tcp,
    ('ipv4', UDP): _ports,
    ('ipv6', UDP): _ports,
    ('ipv4', ICMP): _icmp,
    ('ipv6', ICMPV6): _icmp_v6,
}
