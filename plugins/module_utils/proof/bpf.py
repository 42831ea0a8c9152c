# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A classic BPF program that lets through only the packets of given addresses.

Pure. The program runs in the kernel before a packet is copied to the capture, so
a host under load copies nothing but the proof's own packets. It looks at source
and destination and, in ICMP errors, at those of the quoted packet. Offset 0 is
the IP header, as it is for packet(7) sockets of type SOCK_DGRAM.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import List, NamedTuple, Sequence

#: Octets kept of a packet: two IP headers, ICMP and TCP between and behind them.
SNAP_LENGTH = 256
#: The most instructions that the kernel takes (BPF_MAXINSNS, linux/bpf_common.h).
MAXIMUM = 4096

# linux/filter.h and linux/bpf_common.h, already put together.
LD_WORD, LD_HALF, LD_BYTE = 0x20, 0x28, 0x30
LD_WORD_X, LD_BYTE_X = 0x40, 0x50
LDX_HEADER_LENGTH = 0xB1
JUMP, JUMP_EQUAL, JUMP_SET, JUMP_GREATER = 0x05, 0x15, 0x45, 0x25
AND, RETURN = 0x54, 0x06

_SOURCE_V4, _DESTINATION_V4, _PROTOCOL_V4, _FRAGMENT_V4 = 12, 16, 9, 6
_SOURCE_V6, _DESTINATION_V6, _PROTOCOL_V6 = 8, 24, 6
_ICMP_HEADER = 8


class Instruction(NamedTuple):
    """One instruction (struct sock_filter): jumps count instructions to skip."""

    code: int
    jt: int
    jf: int
    k: int


def compile_filter(addresses: Sequence[str], snap: int = SNAP_LENGTH) -> List[Instruction]:
    """The program for these addresses of either family; no address at all: every IP packet.

    More addresses than a program can hold (about a hundred of IPv6, five hundred
    of IPv4) let every IP packet through: slower, never blind.
    """
    parsed = [ipaddress.ip_address(address) for address in addresses]
    v4 = _block_v4(sorted({int(address) for address in parsed if address.version == 4}), snap)
    v6 = _block_v6(sorted({int(address) for address in parsed if address.version == 6}), snap)
    if not parsed or len(v4) + len(v6) + 8 > MAXIMUM:
        v4 = v6 = [_return(snap)]
    return _dispatch(len(v4)) + v4 + v6


def pack(program: Sequence[Instruction]) -> bytes:
    """The program as the kernel wants it: an array of struct sock_filter."""
    return b''.join(struct.pack('=HBBI', *instruction) for instruction in program)


def _return(length: int) -> Instruction:
    return Instruction(RETURN, 0, 0, length)


def _dispatch(v4_size: int) -> List[Instruction]:
    """By the version in the first octet to the block of its family, which follow."""
    return [
        Instruction(LD_BYTE, 0, 0, 0),
        Instruction(AND, 0, 0, 0xF0),
        Instruction(JUMP_EQUAL, 3, 0, 0x40),
        Instruction(JUMP_EQUAL, 1, 0, 0x60),
        _return(0),
        Instruction(JUMP, 0, 0, v4_size),
    ]


def _block_v4(addresses: Sequence[int], snap: int) -> List[Instruction]:
    if not addresses:
        return [_return(0)]
    compare = _compare_v4(addresses, snap)
    return [
        Instruction(LD_WORD, 0, 0, _SOURCE_V4),
        *compare,
        Instruction(LD_WORD, 0, 0, _DESTINATION_V4),
        *compare,
        *_only_icmp_errors_v4(),
        Instruction(LD_WORD_X, 0, 0, _ICMP_HEADER + _SOURCE_V4),
        *compare,
        Instruction(LD_WORD_X, 0, 0, _ICMP_HEADER + _DESTINATION_V4),
        *compare,
        _return(0),
    ]


def _compare_v4(addresses: Sequence[int], snap: int) -> List[Instruction]:
    tests = [(Instruction(JUMP_EQUAL, 0, 1, address), _return(snap)) for address in addresses]
    return [instruction for pair in tests for instruction in pair]


def _only_icmp_errors_v4() -> List[Instruction]:
    """Falls through, with X at the ICMP header, for unreachable, time exceeded and parameter problem."""
    return [
        Instruction(LD_BYTE, 0, 0, _PROTOCOL_V4),
        Instruction(JUMP_EQUAL, 1, 0, 1),
        _return(0),
        Instruction(LD_HALF, 0, 0, _FRAGMENT_V4),
        Instruction(JUMP_SET, 0, 1, 0x1FFF),
        _return(0),
        Instruction(LDX_HEADER_LENGTH, 0, 0, 0),
        Instruction(LD_BYTE_X, 0, 0, 0),
        Instruction(JUMP_EQUAL, 3, 0, 3),
        Instruction(JUMP_EQUAL, 2, 0, 11),
        Instruction(JUMP_EQUAL, 1, 0, 12),
        _return(0),
    ]


def _block_v6(addresses: Sequence[int], snap: int) -> List[Instruction]:
    if not addresses:
        return [_return(0)]
    inner = 40 + _ICMP_HEADER
    return [
        *_compare_v6(addresses, _SOURCE_V6, snap),
        *_compare_v6(addresses, _DESTINATION_V6, snap),
        Instruction(LD_BYTE, 0, 0, _PROTOCOL_V6),
        Instruction(JUMP_EQUAL, 1, 0, 58),
        _return(0),
        Instruction(LD_BYTE, 0, 0, 40),
        Instruction(JUMP_GREATER, 0, 1, 127),
        _return(0),
        *_compare_v6(addresses, inner + _SOURCE_V6, snap),
        *_compare_v6(addresses, inner + _DESTINATION_V6, snap),
        _return(0),
    ]


def _compare_v6(addresses: Sequence[int], at: int, snap: int) -> List[Instruction]:
    """Word by word from the last one, in which neighbours differ: most packets cost one comparison an address."""
    program: List[Instruction] = []
    for address in addresses:
        for word in (3, 2, 1, 0):
            value = address >> (32 * (3 - word)) & 0xFFFFFFFF
            program += [Instruction(LD_WORD, 0, 0, at + 4 * word), Instruction(JUMP_EQUAL, 0, 2 * word + 1, value)]
        program.append(_return(snap))
    return program
