# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interface addresses as rtnetlink has them (linux/if_addr.h, ip-address(8))."""

from __future__ import annotations

import socket
import struct
from typing import List, Mapping, Optional

from ..errors import KernelError
from ..objects import Address
from .netlink import NLM_F_CREATE, NLM_F_EXCL, Message, Netlink, attribute, attributes
from .prefixes import FAMILY_NAMES, FAMILY_NUMBERS, pack_address, unpack_address

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22

_ADDRESS, _LOCAL = 1, 2
_HEADER = struct.Struct('=BBBBI')


SCOPE_HOST = 254


def add_message(address: Address, indexes: Mapping[str, int], scope: int) -> Message:
    """Gives a device an address; refused (EEXIST) when it has it."""
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, encode(address, indexes, scope))


def encode(address: Address, indexes: Mapping[str, int], scope: int = 0) -> bytes:
    """Header and attributes for RTM_NEWADDR and RTM_DELADDR; KernelError names a device that is not there."""
    if address.device not in indexes:
        raise KernelError('find', f'device {address.device}', f'no such device; there are {", ".join(indexes)}')
    packed = pack_address(address.address)
    head = _HEADER.pack(FAMILY_NUMBERS[address.family], address.prefix_length, 0, scope, indexes[address.device])
    return head + attribute(_LOCAL, packed) + attribute(_ADDRESS, packed)


def decode(body: bytes, names: Mapping[int, str]) -> Address:
    """The address of an RTM_NEWADDR body: the local one where the link has a peer."""
    try:
        family, bits, _flags, _scope, index = _HEADER.unpack_from(body)
        found = attributes(body, _HEADER.size)
        packed = found[_LOCAL] if _LOCAL in found else found[_ADDRESS]
        return Address(FAMILY_NAMES[family], names.get(index, f'if{index}'), unpack_address(packed), bits)
    except (struct.error, KeyError, ValueError, OSError) as error:
        raise KernelError('parse', 'address', f'{body.hex()}: {error!r}') from error


def list_addresses(netlink: Netlink, names: Optional[Mapping[int, str]] = None) -> List[Address]:
    """All addresses of both families; `names` are the devices' by index."""
    names = dict(socket.if_nameindex()) if names is None else names
    found: List[Address] = []
    for number in FAMILY_NUMBERS.values():
        question = _HEADER.pack(number, 0, 0, 0, 0)
        found += [decode(body, names) for body in netlink.dump(RTM_GETADDR, question)]
    return found
