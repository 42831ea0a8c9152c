# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IP packets by hand, as the wire has them, for tests of the parser, the filter and the verdicts."""

from __future__ import annotations

import socket
import struct

TCP, UDP, ICMP, ICMPV6, FRAGMENT = 6, 17, 1, 58, 44
FLAGS = 'FSRPAUEC'


def ip(src: str, dst: str, proto: int, payload: bytes, ident: int = 7, offset: int = 0, options: bytes = b'') -> bytes:
    """An IPv4 or IPv6 packet, by the addresses; offset (octets) and options are IPv4's."""
    if ':' in src:
        addresses = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
        return struct.pack('!IHBB', 6 << 28, len(payload), proto, 64) + addresses + payload
    size = 20 + len(options)
    addresses = socket.inet_pton(socket.AF_INET, src) + socket.inet_pton(socket.AF_INET, dst)
    head = struct.pack('!BBHHHBBH', 4 << 4 | size // 4, 0, size + len(payload), ident, offset // 8, 64, proto, 0)
    return head + addresses + options + payload


def tcp(sport: int, dport: int, flags: str = 'S') -> bytes:
    bits = sum(1 << FLAGS.index(flag) for flag in flags)
    return struct.pack('!HHIIBBHHH', sport, dport, 1, 0, 5 << 4, bits, 512, 0, 0)


def udp(sport: int, dport: int, payload: bytes = b'hello') -> bytes:
    return struct.pack('!HHHH', sport, dport, 8 + len(payload), 0) + payload


def echo(kind: int, ident: int) -> bytes:
    """An ICMP echo message: 8 and 0, or with IPv6 128 and 129."""
    return struct.pack('!BBHHH', kind, 0, 0, ident, 1) + b'ping'


def icmp_error(kind: int, code: int, quoted: bytes) -> bytes:
    return struct.pack('!BBHI', kind, code, 0, 0) + quoted


def fragment_header(proto: int, offset: int, ident: int) -> bytes:
    """IPv6's; the offset in octets."""
    return struct.pack('!BBHI', proto, 0, offset & 0xFFF8, ident)
