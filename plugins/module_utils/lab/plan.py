# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from the lab that is to the lab that should be, as lines for ip(8). Pure.

Only differences become lines, so a second run has none and a repair touches what is broken.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from . import naming
from .state import SWITCH_SYSCTLS, LinkSeen, Seen, plugged
from .topology import Host, Interface, Topology

Lines = Tuple[str, ...]
#: Settings to write, by path below /proc/sys.
Settings = Dict[str, str]
_NOTHING = Seen({}, {})
#: Ports get indexes that no NIC of a host has. If the ends of a cable had the same one, the kernel would take it
#: for a plain NIC and tell that its link is up only after up to a second (linkwatch_urgent_event).
_FIRST_INDEX = 1000


class HostPlan(NamedTuple):
    """What is to be done in one host, in the order of the fields; the switch's lines come between."""

    settings: Settings
    loopback: Lines
    clear: Lines
    lines: Lines
    late_settings: Settings


class Plan(NamedTuple):
    """All changes. `remove` and `create` are host names; `changes` says in words what will be done.

    `unplug` are the switch's links to delete; the kernel may be about to do so itself.
    """

    remove: Lines
    create: Lines
    unplug: Lines
    switch: Lines
    hosts: Dict[str, HostPlan]
    changes: Lines

    def empty(self) -> bool:
        """Whether the lab is as it should be."""
        return not self.changes


def plan_lab(topology: Topology, seen: Mapping[str, Seen]) -> Plan:
    """Changes that make `seen` (namespaces by host name, the switch among them) the topology."""
    wanted = (naming.SWITCH, *(host.name for host in topology.hosts))
    remove = tuple(name for name in sorted(seen) if name not in wanted)
    create = tuple(name for name in wanted if name not in seen)
    unplug, switch = tuple(_unplug_lines(topology, seen)), tuple(_switch_lines(topology, seen))
    hosts = {naming.SWITCH: _switch_host(topology.name, seen.get(naming.SWITCH, _NOTHING))}
    hosts.update({host.name: _host_plan(topology.name, host, seen) for host in topology.hosts})
    changes = [f'remove namespace {name}' for name in remove]
    changes += [f'create namespace {name}' for name in create]
    changes += [f'switch: {line}' for line in (*unplug, *switch)]
    for name, host in hosts.items():
        changes += [f'{name}: {line}' for line in (*host.loopback, *host.clear, *host.lines)]
        changes += [f'{name}: {path}={value}' for path, value in {**host.settings, **host.late_settings}.items()]
    return Plan(remove, create, unplug, switch, hosts, tuple(changes))


def settings_of(host: Host) -> Tuple[Settings, Settings]:
    """A host's sysctls: those to write before links exist, and those that name one of its NICs."""
    nics = {nic.name for nic in host.interfaces}
    late = {path: value for path, value in host.sysctls.items() if nics.intersection(path.split('/'))}
    return {path: value for path, value in host.sysctls.items() if path not in late}, late


def _missing(wanted: Settings, seen: Seen) -> Settings:
    return {path: value for path, value in wanted.items() if seen.sysctls.get(path) != value}


def _switch_host(lab: str, seen: Seen) -> HostPlan:
    return HostPlan(_missing(SWITCH_SYSCTLS, seen), tuple(loopback_lines(lab, frozenset(), seen)), (), (), {})


def _host_plan(lab: str, host: Host, seen: Mapping[str, Seen]) -> HostPlan:
    here = seen.get(host.name, _NOTHING)
    early, late = settings_of(host)
    loopback = tuple(loopback_lines(lab, frozenset(host.loopback), here))
    clear: List[str] = []
    lines: List[str] = []
    for nic in host.interfaces:
        link = here.links.get(nic.name)
        if not plugged(link, _port(nic, seen)):
            # The switch makes the cable; a link that has its name by chance would be in the way.
            clear += [f'link del dev {nic.name}'] if link else []
            link = None
        lines += nic_lines(nic, link)
    return HostPlan(_missing(early, here), loopback, tuple(clear), tuple(lines), _missing(late, here))


def _port(nic: Interface, seen: Mapping[str, Seen]) -> Optional[LinkSeen]:
    return seen.get(naming.SWITCH, _NOTHING).links.get(nic.port)


def loopback_lines(lab: str, addresses: FrozenSet[str], seen: Seen) -> Iterator[str]:
    lo = seen.links.get('lo')
    if lo is None or lo.alias != naming.tag(lab):
        yield f'link set dev lo alias "{naming.tag(lab)}"'
    if lo is None or not lo.up:
        yield 'link set dev lo up'
    yield from _address_lines('lo', addresses, lo)


def nic_lines(nic: Interface, link: Optional[LinkSeen]) -> Iterator[str]:
    # A NIC that is made in this plan has its MAC and MTU from the start.
    if link is not None and link.mac != nic.mac:
        yield f'link set dev {nic.name} address {nic.mac}'
    if link is not None and link.mtu != nic.mtu:
        yield f'link set dev {nic.name} mtu {nic.mtu}'
    yield from _address_lines(nic.name, frozenset(nic.addresses), link)
    if link is None or not link.up:
        yield f'link set dev {nic.name} up'


def _address_lines(device: str, wanted: FrozenSet[str], link: Optional[LinkSeen]) -> Iterator[str]:
    present = link.addresses if link else frozenset()
    # Away first: a new address in the subnet of an old one would be its secondary and go with it.
    for address in sorted(present - wanted):
        yield f'address del {address} dev {device}'
    for address in sorted(wanted - present):
        yield f'address add {address} dev {device}' + (' nodad' if ':' in address else '')


def _unplug_lines(topology: Topology, seen: Mapping[str, Seen]) -> Iterator[str]:
    nics = _nics_by_port(topology)
    bridges = {network.name for network in topology.networks}
    for link in seen.get(naming.SWITCH, _NOTHING).links.values():
        unknown_bridge = link.kind == 'bridge' and link.name not in bridges
        if unknown_bridge or (link.kind == 'veth' and not _keeps(link, nics, seen)):
            yield f'link del dev {link.name}'


def _nics_by_port(topology: Topology) -> Dict[str, Tuple[Host, Interface]]:
    return {nic.port: (host, nic) for host in topology.hosts for nic in host.interfaces}


def _switch_lines(topology: Topology, seen: Mapping[str, Seen]) -> Iterator[str]:
    links = seen.get(naming.SWITCH, _NOTHING).links
    nics = _nics_by_port(topology)
    bridges = {network.name for network in topology.networks}
    for name in sorted(bridges):
        yield from _bridge_lines(name, links.get(name))
    index = max([_FIRST_INDEX, *(link.number + 1 for link in links.values())])
    for number, (host, nic) in enumerate(nics.values()):
        link = links.get(nic.port)
        kept = link if link and _keeps(link, nics, seen) else None
        yield from _port_lines(topology.name, host, nic, kept, index + number)


def _keeps(port: LinkSeen, nics: Mapping[str, Tuple[Host, Interface]], seen: Mapping[str, Seen]) -> bool:
    """Whether a port of the switch is the end of a cable that the topology wants."""
    if port.name not in nics:
        return False
    host, nic = nics[port.name]
    return plugged(seen.get(host.name, _NOTHING).links.get(nic.name), port)


def _bridge_lines(name: str, link: Optional[LinkSeen]) -> Iterator[str]:
    if link is None or link.kind != 'bridge':
        # No learning delay and no multicast snooping: the first neighbour solicitation must get through.
        yield f'link add name {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0'
        link = None
    if link is None or not link.up:
        yield f'link set dev {name} up'


def _port_lines(lab: str, host: Host, nic: Interface, link: Optional[LinkSeen], index: int) -> Iterator[str]:
    if link is None:
        peer = f'peer name {nic.name} netns {naming.namespace(lab, host.name)} mtu {nic.mtu} address {nic.mac}'
        yield f'link add name {nic.port} index {index} mtu {nic.mtu} type veth {peer}'
    elif link.mtu != nic.mtu:
        yield f'link set dev {nic.port} mtu {nic.mtu}'
    if link is None or link.master != nic.network:
        yield f'link set dev {nic.port} master {nic.network}'
    if link is None or not link.up:
        yield f'link set dev {nic.port} up'
