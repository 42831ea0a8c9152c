# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bind: intent meets the host. Each network gets its NIC, table, mark and subnets, or a PolicyError.

Pure. Interfaces are found, never assumed: eth1 in one container is eth2 in the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Optional, Set, Tuple

from . import values
from .errors import PolicyError
from .intent import Network, ReturnPolicy
from .objects import ALIAS, Link
from .observed import Observed, is_link_local


@dataclass(frozen=True)
class Attachment:
    """A network as this host has it."""

    name: str
    nic: str
    table: int
    mark: int
    gateways: Dict[str, str]
    subnets: Dict[str, Tuple[str, ...]]
    clients: Tuple[str, ...]
    onlink: bool
    vrf: str

    @property
    def families(self) -> Tuple[str, ...]:
        """The families this network has a gateway for."""
        return tuple(sorted(self.gateways))


@dataclass(frozen=True)
class Bound:
    """A policy whose networks have been found on the host."""

    policy: ReturnPolicy
    attachments: Tuple[Attachment, ...]

    def attachment(self, name: str) -> Attachment:
        """The network of that name; parse_policy has checked that it exists."""
        return next(item for item in self.attachments if item.name == name)


def bind(policy: ReturnPolicy, host: Observed) -> Bound:
    """Find every network of the policy on the host."""
    tables = _tables(policy, host)
    marks = _marks(policy)
    attachments = tuple(
        _attach(f'networks[{at}]', network, host, tables[at], marks[at], policy)
        for at, network in enumerate(policy.networks)
    )
    _check_distinct_nics(attachments)
    return Bound(policy, attachments)


def _attach(key: str, network: Network, host: Observed, table: int, mark: int, policy: ReturnPolicy) -> Attachment:
    link = _find(key, network, host)
    nic = link.name
    _check_master(key, link, network, host, policy.strategy)
    subnets = {family: host.subnets(nic, family) for family in network.gateways}
    for family, gateway in network.gateways.items():
        _check_on_link(f'{key}.gateways', gateway, nic, subnets[family], network.onlink)
    return Attachment(
        network.name, nic, table, mark, network.gateways, subnets, network.clients, network.onlink, network.vrf
    )


def _find(key: str, network: Network, host: Observed) -> Link:
    found = [link for link in host.links if _fits(link, network, host)]
    if len(found) == 1:
        return found[0]
    told = 'no interface has it' if not found else f'more than one has it ({", ".join(link.name for link in found)})'
    raise PolicyError(f'{key}.{network.finder}', network.wanted, f'{told}; there are {_inventory_of(host)}')


def _fits(link: Link, network: Network, host: Observed) -> bool:
    if network.finder == 'interface':
        return link.name == network.wanted
    if network.finder == 'mac':
        return link.mac == network.wanted
    addresses = [item for item in host.addresses if item.device == link.name]
    if network.finder == 'address':
        return any(item.address == network.wanted.partition('/')[0] for item in addresses)
    return any(values.network_of(item.address, item.prefix_length) == network.wanted for item in addresses)


def _inventory_of(host: Observed) -> str:
    """The interfaces there are, with what they could be found by."""
    told = []
    for link in host.links:
        addresses = [f'{item.address}/{item.prefix_length}' for item in host.addresses if item.device == link.name]
        told.append(' '.join([link.name, *([link.mac] if link.mac else []), *addresses]))
    return '; '.join(told) or 'none'


def _check_on_link(key: str, gateway: str, nic: str, subnets: Iterable[str], onlink: bool) -> None:
    if onlink or is_link_local(gateway) or any(values.contains(subnet, gateway) for subnet in subnets):
        return
    listed = ', '.join(subnets) or f'no {values.family_of(gateway)} network'
    raise PolicyError(
        key, gateway, f'is not on a network of {nic} ({listed}); set onlink: true if it is reachable all the same'
    )


def _tables(policy: ReturnPolicy, host: Observed) -> List[int]:
    """Each network's table: told, or that of its VRF if there is one already, or its place in the block."""
    known = [_known_table(f'networks[{at}].table', network, policy, host) for at, network in enumerate(policy.networks)]
    for at, table in enumerate(known):
        if table is not None and table in known[:at]:
            taken = f'is taken by networks[{known.index(table)}]; each network needs its own'
            raise PolicyError(f'networks[{at}].table', table, taken)
    tables: List[int] = []
    for at, table in enumerate(known):
        tables.append(_free_table(policy.table_base, at, {*known, *tables}) if table is None else table)
    return tables


def _free_table(base: int, at: int, taken: Set[Optional[int]]) -> int:
    """The network's place in the block; when another has that table already, the first one that is free."""
    places = (base + at + 1, *(base + place for place in range(1, len(taken) + 2)))
    return next(place for place in places if place not in taken)


def _known_table(key: str, network: Network, policy: ReturnPolicy, host: Observed) -> Optional[int]:
    if network.table is not None:
        return _table(key, network.table, host.table_names)
    there = host.link(network.vrf) if policy.strategy == 'vrf' else None
    return there.vrf_table if there else None


def _check_master(key: str, link: Link, network: Network, host: Observed, strategy: str) -> None:
    """A NIC inside another device is not ours to move, and in a VRF the other strategies do not work."""
    master = host.link(link.master) if link.master else None
    if master is None or master.alias == ALIAS or (strategy == 'vrf' and master.name == network.vrf):
        return
    if master.kind == 'vrf':
        raise PolicyError(
            key, link.name, f'is in VRF {master.name} of others; use strategy vrf with vrf: {master.name}'
        )
    if strategy == 'vrf':
        raise PolicyError(key, link.name, f'is in {master.name} ({master.kind}); name {master.name} as the interface')


def _table(key: str, told: str, names: Mapping[str, int]) -> int:
    if told.isdigit():
        return int(told)
    if told not in names:
        raise PolicyError(key, told, f'is not in rt_tables; known are {", ".join(sorted(names)) or "none"}')
    if names[told] in (0, 252, 253, 254, 255):
        raise PolicyError(key, told, "is one of the kernel's own tables; use a table of its own")
    return names[told]


def _marks(policy: ReturnPolicy) -> List[int]:
    """The marks: those told, and for the others the first free ones in the mask."""
    step, room = values.mask_values(policy.mark_mask)
    taken = {network.mark for network in policy.networks}
    free = (step * number for number in range(1, room + 1) if step * number not in taken)
    return [network.mark if network.mark is not None else next(free) for network in policy.networks]


def _check_distinct_nics(attachments: Tuple[Attachment, ...]) -> None:
    first: Dict[str, int] = {}
    for at, item in enumerate(attachments):
        if item.nic in first:
            raise PolicyError(
                f'networks[{at}]',
                item.nic,
                f'is the interface of networks[{first[item.nic]}] too; each network needs its own',
            )
        first[item.nic] = at
