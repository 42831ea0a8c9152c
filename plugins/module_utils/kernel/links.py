# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces as rtnetlink has them (linux/if_link.h, ip-link(8))."""

from __future__ import annotations

import struct
from typing import List, Mapping, Optional

from ..errors import KernelError
from ..objects import Link, Veth
from .netlink import NLM_F_CREATE, NLM_F_EXCL, Message, Netlink, attribute, attributes

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18

_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _ALIAS, _EXT_MASK, _LINK_NETNSID = 1, 3, 4, 5, 10, 18, 20, 29, 37
_INFO_KIND, _INFO_DATA, _VRF_TABLE, _VETH_PEER = 1, 2, 1, 1
_IFF_UP, _IFF_NOARP = 0x1, 0x80
_SKIP_STATISTICS = 0x8

_HEADER = struct.Struct('=BxHiII')
_NUMBER = struct.Struct('=I')


def encode(link: Link, indexes: Mapping[str, int]) -> bytes:
    """Header and attributes for RTM_NEWLINK (index 0 lets the kernel choose) and RTM_DELLINK.

    `indexes` are those of possible masters by name; KernelError names a master that is not there.
    """
    if link.master is not None and link.master not in indexes:
        there = ', '.join(indexes)
        raise KernelError('find', f'master {link.master} of {link.name}', f'no such device; there are {there}')
    parts = [_HEADER.pack(0, 0, link.number, _IFF_UP if link.up else 0, _IFF_UP)]
    parts.append(attribute(_IFNAME, link.name.encode() + b'\0'))
    if link.mac:
        parts.append(attribute(_ADDRESS, bytes.fromhex(link.mac.replace(':', ''))))
    if link.mtu:
        parts.append(attribute(_MTU, _NUMBER.pack(link.mtu)))
    if link.master:
        parts.append(attribute(_MASTER, _NUMBER.pack(indexes[link.master])))
    if link.alias:
        parts.append(attribute(_ALIAS, link.alias.encode()))
    if link.kind:
        parts.append(attribute(_LINKINFO, _encode_kind(link.kind, link.vrf_table)))
    return b''.join(parts)


def _encode_kind(kind: str, vrf_table: Optional[int]) -> bytes:
    name = attribute(_INFO_KIND, kind.encode())
    if vrf_table is None:
        return name
    return name + attribute(_INFO_DATA, attribute(_VRF_TABLE, _NUMBER.pack(vrf_table)))


def decode(body: bytes) -> Link:
    """The link of an RTM_NEWLINK body, `master` and `lower` still as indexes in text.

    Only an Ethernet address (six bytes) counts as `mac`; a physical interface has no kind.
    """
    try:
        _family, _type, index, flags, _change = _HEADER.unpack_from(body)
        found = attributes(body, _HEADER.size)
        info = attributes(found.get(_LINKINFO, b''))
        kind = info[_INFO_KIND].rstrip(b'\0').decode() if _INFO_KIND in info else None
        data = attributes(info.get(_INFO_DATA, b'')) if kind == 'vrf' else {}
        mac = found.get(_ADDRESS, b'')
        return Link(
            index,
            found[_IFNAME].rstrip(b'\0').decode('utf-8', 'surrogateescape'),
            mac.hex(':') if len(mac) == 6 else None,
            bool(flags & _IFF_UP),
            _NUMBER.unpack(found[_MTU])[0],
            kind,
            _index(found.get(_MASTER)),
            _NUMBER.unpack(data[_VRF_TABLE])[0] if _VRF_TABLE in data else None,
            None if _LINK_NETNSID in found else _index(found.get(_LINK)),
            found[_ALIAS].rstrip(b'\0').decode('utf-8', 'replace') if _ALIAS in found else None,
        )
    except (struct.error, KeyError, ValueError) as error:
        raise KernelError('parse', 'link', f'{body.hex()}: {error!r}') from error


def _index(payload: Optional[bytes]) -> Optional[str]:
    number = _NUMBER.unpack(payload)[0] if payload else 0
    return str(number) if number else None


def list_links(netlink: Netlink) -> List[Link]:
    """All interfaces by index; `master` and `lower` are names."""
    question = _HEADER.pack(0, 0, 0, 0, 0) + attribute(_EXT_MASK, _NUMBER.pack(_SKIP_STATISTICS))
    links = sorted(map(decode, netlink.dump(RTM_GETLINK, question)), key=lambda link: link.number)
    return with_names(links)


def with_names(links: List[Link]) -> List[Link]:
    """Links with names in the place of indexes; a device out of sight (in another namespace) is None."""
    names = {str(link.number): link.name for link in links}
    return [link._replace(master=names.get(link.master or ''), lower=names.get(link.lower or '')) for link in links]


def add_message(link: Link) -> Message:
    """Makes a device; refused (EEXIST) when the name is taken."""
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, encode(link, {}))


def veth_message(veth: Veth) -> Message:
    """Makes a pair, both ends down and without ARP; refused (EEXIST) when a name is taken (linux/veth.h)."""
    peer = attribute(_VETH_PEER, _veth_end(veth.inner, veth.mac))
    info = attribute(_INFO_KIND, b'veth') + attribute(_INFO_DATA, peer)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _veth_end(veth.outer, veth.mac) + attribute(_LINKINFO, info))


def _veth_end(name: str, mac: str) -> bytes:
    address = bytes.fromhex(mac.replace(':', ''))
    return (
        _HEADER.pack(0, 0, 0, _IFF_NOARP, _IFF_NOARP)
        + attribute(_IFNAME, name.encode() + b'\0')
        + attribute(_ADDRESS, address)
    )


def up_message(name: str) -> Message:
    """Brings a device up."""
    return Message(RTM_NEWLINK, 0, _HEADER.pack(0, 0, 0, _IFF_UP, _IFF_UP) + attribute(_IFNAME, name.encode() + b'\0'))


def alias_message(name: str, alias: str) -> Message:
    """Gives a device its ifAlias; the kernel takes none while it makes a device."""
    parts = (attribute(_IFNAME, name.encode() + b'\0'), attribute(_ALIAS, alias.encode()))
    return Message(RTM_NEWLINK, 0, _HEADER.pack(0, 0, 0, 0, 0) + b''.join(parts))


def delete_message(link: Link) -> Message:
    """Removes the device with this index."""
    return Message(RTM_DELLINK, 0, encode(link._replace(kind=None, master=None), {}))


def master_message(index: int, master: int) -> Message:
    """Puts an interface into another device, or out of it when `master` is 0 (ip-link(8): master, nomaster)."""
    return Message(RTM_NEWLINK, 0, _HEADER.pack(0, 0, index, 0, 0) + attribute(_MASTER, _NUMBER.pack(master)))
