# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and prefixes between the kernel's bytes and canonical text."""

from __future__ import annotations

import socket
from typing import Tuple

FAMILY_NAMES = {socket.AF_INET: 'ipv4', socket.AF_INET6: 'ipv6'}
FAMILY_NUMBERS = {'ipv4': int(socket.AF_INET), 'ipv6': int(socket.AF_INET6)}
#: Bits of an address of a family.
BITS = {'ipv4': 32, 'ipv6': 128}
#: The destination of a default route.
DEFAULTS = {'ipv4': '0.0.0.0/0', 'ipv6': '::/0'}


def pack_address(text: str) -> bytes:
    """Four or sixteen bytes of a canonical address; OSError if it is none."""
    return socket.inet_pton(socket.AF_INET6 if ':' in text else socket.AF_INET, text)


def unpack_address(packed: bytes) -> str:
    """The canonical text (RFC 5952 as the C library writes it) of four or sixteen bytes."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def pack_prefix(text: str) -> Tuple[bytes, int]:
    """Address bytes and length of 'address/length'."""
    address, _slash, length = text.partition('/')
    return pack_address(address), int(length)


def canonical_address(text: str) -> str:
    """The one way to write an address; ValueError when it is not one.

    inet_pton(3) takes no short forms ('10.1'), no leading zeros and no zone ids.
    """
    try:
        return unpack_address(pack_address(text))
    except OSError as error:
        raise ValueError(text) from error


def canonical_prefix(text: str) -> str:
    """The one way to write a prefix; a plain address is a full-length one.

    ValueError when it is not one, or when it has bits set beyond its length
    (its args then hold the text and the prefix without these bits).
    """
    address, slash, length_text = text.partition('/')
    try:
        packed = pack_address(address)
    except OSError as error:
        raise ValueError(text) from error
    bits = len(packed) * 8
    if not slash:
        return f'{unpack_address(packed)}/{bits}'
    if not (length_text.isdigit() and length_text.isascii()) or int(length_text) > bits:
        raise ValueError(text)
    length = int(length_text)
    number = int.from_bytes(packed, 'big')
    network = number >> (bits - length) << (bits - length)
    if network != number:
        raise ValueError(text, f'{unpack_address(network.to_bytes(len(packed), "big"))}/{length}')
    return f'{unpack_address(packed)}/{length}'


def family_of(text: str) -> str:
    """The family of a canonical address or prefix."""
    return 'ipv6' if ':' in text else 'ipv4'
