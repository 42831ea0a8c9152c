# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observed: what is on the host, as plain values. kernel/observe.py fills it; everything else only reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .nft import NftTable
from .objects import ALIAS, KERNEL, Address, Link, Route, Rule
from .values import family_of, network_of

MAIN = 254
LOCAL = 255


@dataclass(frozen=True)
class Observed:
    """One reading of the host. Rules, routes and nft objects of everybody, not only ours."""

    rules: Tuple[Rule, ...] = ()
    routes: Tuple[Route, ...] = ()
    links: Tuple[Link, ...] = ()
    addresses: Tuple[Address, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    #: Whether they can only be read, as in a container without privileges.
    sysctls_read_only: bool = False
    table_names: Mapping[str, int] = field(default_factory=dict)
    nft: Optional[NftTable] = None
    #: Everybody else's objects of `nft -j list ruleset`; None when nft is not installed.
    foreign_nft: Optional[List[Dict[str, Any]]] = None
    nft_missing: Optional[str] = None
    #: Whether this kernel makes VRF devices; None when nobody asked.
    vrf_supported: Optional[bool] = None

    def link(self, name: str) -> Optional[Link]:
        """The interface of that name."""
        return next((link for link in self.links if link.name == name), None)

    def is_ours(self, name: str) -> bool:
        """Whether there is an interface of that name that carries our tag."""
        there = self.link(name)
        return there is not None and there.alias == ALIAS

    def has_default(self, family: str) -> bool:
        """Whether table main has a default route that is not a refusal."""
        return any(
            route.family == family
            and route.table == MAIN
            and route.destination.endswith('/0')
            and route.type == 'unicast'
            for route in self.routes
        )

    def subnets(self, nic: str, family: str) -> Tuple[str, ...]:
        """The networks of an interface's addresses, link-local ones aside."""
        found = [
            network_of(item.address, item.prefix_length)
            for item in self.addresses
            if item.device == nic and item.family == family and not item.address.startswith('fe80:')
        ]
        return tuple(dict.fromkeys(found))

    def sysctl(self, path: str) -> Optional[str]:
        """A kernel setting by its path below /proc/sys, None when this kernel lacks it."""
        return self.sysctls.get(path)

    def effective_rp_filter(self, nic: str) -> int:
        """max(all, interface), as the kernel takes it (Documentation/networking/ip-sysctl.rst)."""
        return max(int(self.sysctl(f'net/ipv4/conf/{name}/rp_filter') or 0) for name in ('all', nic))


def leads_to_local(rule: Rule) -> bool:
    """Whether this is a rule `local`: every packet looks in table local (ip-rule(8))."""
    return rule == Rule(rule.family, rule.priority, table=LOCAL, protocol=rule.protocol)


def moved_local(host: Observed) -> Tuple[Rule, ...]:
    """The rules `local` of ours, which are there only when the kernel's own was taken out of the way.

    They carry the kernel's protocol and not ours: what sweeps away rules of strangers (systemd-networkd does) spares
    them, and a host without any rule `local` answers nobody. They are ours while a veth pair of ours is there.
    """
    if not any(link.kind == 'veth' and link.alias == ALIAS for link in host.links):
        return ()
    return tuple(rule for rule in host.rules if rule.priority and rule.protocol == KERNEL and leads_to_local(rule))


def is_link_local(address: str) -> bool:
    """Whether an address is reachable on any link without a subnet (RFC 4291, 2.5.6)."""
    return family_of(address) == 'ipv6' and address.lower().startswith(('fe8', 'fe9', 'fea', 'feb'))
