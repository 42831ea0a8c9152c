# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe: one reading of the host's rules, routes, links, addresses, sysctls and nft objects."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..nft import FAMILY, TABLE, parse_table
from ..objects import Link
from ..observed import Observed
from . import addresses, links, routes, rules
from .names import table_names
from .netlink import Netlink
from .nftables import find_nft, list_ruleset
from .sysctls import read_only, read_sysctls
from .vrf_support import vrf_supported

_GLOBAL_SYSCTLS = (
    'net/ipv4/ip_forward',
    'net/ipv6/conf/all/forwarding',
    'net/ipv4/conf/all/rp_filter',
    'net/ipv4/conf/default/rp_filter',
    'net/ipv4/conf/all/src_valid_mark',
    'net/ipv4/tcp_l3mdev_accept',
    'net/ipv4/udp_l3mdev_accept',
)
_NIC_SYSCTLS = (
    'net/ipv4/conf/{}/rp_filter',
    'net/ipv4/conf/{}/src_valid_mark',
    'net/ipv6/conf/{}/keep_addr_on_down',
    'net/ipv6/conf/{}/addr_gen_mode',
)


def observe(probe_vrf: bool = False) -> Observed:
    """What is there now, of everybody. KernelError when the kernel or nft does not answer."""
    with Netlink() as netlink:
        found = links.list_links(netlink)
        nft_objects, missing = _ruleset()
        return Observed(
            rules=tuple(rules.list_rules(netlink)),
            routes=tuple(routes.list_routes(netlink)),
            links=tuple(found),
            addresses=tuple(addresses.list_addresses(netlink)),
            sysctls=read_sysctls(_sysctl_paths(found)),
            sysctls_read_only=read_only(),
            table_names=table_names(),
            nft=parse_table(nft_objects or ()),
            foreign_nft=None if nft_objects is None else [item for item in nft_objects if not _ours(item)],
            nft_missing=missing,
            vrf_supported=vrf_supported() if probe_vrf else None,
        )


def _ruleset() -> Tuple[Optional[List[Dict[str, Any]]], Optional[str]]:
    if find_nft() is None:
        return None, 'nft is not installed'
    return list_ruleset(), None


def _ours(entry: Dict[str, Any]) -> bool:
    item = next(iter(entry.values()))
    return item.get('family') == FAMILY and TABLE in (item.get('table'), item.get('name') if 'table' in entry else None)


def _sysctl_paths(found: Sequence[Link]) -> Iterator[str]:
    yield from _GLOBAL_SYSCTLS
    for link in found:
        for pattern in _NIC_SYSCTLS:
            yield pattern.format(link.name)
