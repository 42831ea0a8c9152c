# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab is and what it should be, in the same types. Pure."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

from . import naming
from .topology import Host, Topology

#: What every kernel puts on `lo` by itself.
_LOOPBACK = frozenset(('127.0.0.1/8', '::1/128'))
#: The bridges need no address of their own, so nothing of the switch can show up in a capture.
SWITCH_SYSCTLS = {'net/ipv6/conf/all/disable_ipv6': '1', 'net/ipv6/conf/default/disable_ipv6': '1'}


class Nic(NamedTuple):
    """A host's NIC; network is None when its cable is not plugged into the switch."""

    network: Optional[str]
    addresses: FrozenSet[str]
    mtu: int
    mac: str
    up: bool = True


class HostState(NamedTuple):
    """A host: its NICs by name, addresses on lo, and those sysctls that the topology speaks of."""

    nics: Dict[str, Nic]
    loopback: FrozenSet[str]
    sysctls: Dict[str, str]
    up: bool = True


class LinkSeen(NamedTuple):
    """One link as `ip -j -d address` shows it. peer: the other end's number, in whatever namespace it is."""

    name: str
    number: int
    kind: str
    peer: Optional[int]
    mac: str
    mtu: int
    up: bool
    ready: bool
    master: Optional[str]
    alias: str
    addresses: FrozenSet[str]


class Seen(NamedTuple):
    """One namespace as it is."""

    links: Dict[str, LinkSeen]
    sysctls: Dict[str, str]

    def owner(self) -> str:
        """The tag on lo that says whose namespace it is; '' when there is none."""
        return self.links['lo'].alias if 'lo' in self.links else ''


def parse_links(data: List[Mapping[str, Any]]) -> Dict[str, LinkSeen]:
    """The output of `ip -j -d address show`."""
    found = (_link(item) for item in data if item.get('ifname'))
    return {link.name: link for link in found}


def _link(item: Mapping[str, Any]) -> LinkSeen:
    flags = item.get('flags', ())
    infos = [info for info in item.get('addr_info', ()) if 'local' in info]
    kind = str(item.get('linkinfo', {}).get('info_kind', ''))
    # A pending address is one that duplicate address detection still holds back.
    pending = any(info.get('tentative') for info in infos)
    return LinkSeen(
        name=str(item['ifname']),
        number=int(item['ifindex']),
        kind=kind,
        peer=item.get('link_index'),
        mac=str(item.get('address', '')),
        mtu=int(item.get('mtu', 0)),
        up='UP' in flags,
        ready=item.get('operstate') == 'UP' and 'LOWER_UP' in flags and not pending,
        master=item.get('master'),
        alias=str(item.get('ifalias', '')),
        addresses=frozenset(f'{info["local"]}/{info["prefixlen"]}' for info in infos if _is_given(info)),
    )


def _is_given(info: Mapping[str, Any]) -> bool:
    """Whether somebody gave this address; link-local and autoconfigured ones come by themselves."""
    own = info.get('scope') == 'link' and info.get('family') == 'inet6'
    return not own and not info.get('dynamic') and f'{info["local"]}/{info["prefixlen"]}' not in _LOOPBACK


def desired_hosts(topology: Topology) -> Dict[str, HostState]:
    """The hosts as the topology wants them."""
    return {host.name: desired_host(host) for host in topology.hosts}


def desired_host(host: Host) -> HostState:
    """One host as the topology wants it."""
    nics = {nic.name: Nic(nic.network, frozenset(nic.addresses), nic.mtu, nic.mac) for nic in host.interfaces}
    return HostState(nics, frozenset(host.loopback), host.sysctls)


def observed_host(seen: Seen, switch: Optional[Seen]) -> HostState:
    """One host as it is: the NICs that are plugged into the switch."""
    ports = {port.number: port for port in switch.links.values()} if switch else {}
    nics: Dict[str, Nic] = {}
    for link in seen.links.values():
        port = ports.get(link.peer or 0)
        if port is not None and plugged(link, port):
            up = link.up and port.up
            nics[link.name] = Nic(port.master, link.addresses, min(link.mtu, port.mtu), link.mac, up)
    lo = seen.links.get('lo')
    return HostState(nics, lo.addresses if lo else frozenset(), seen.sysctls, bool(lo and lo.up))


def plugged(nic: Optional[LinkSeen], port: Optional[LinkSeen]) -> bool:
    """Whether these two are the ends of one cable."""
    if nic is None or port is None:
        return False
    return nic.kind == port.kind == 'veth' and nic.peer == port.number and port.peer == nic.number


def shown(networks: Tuple[str, ...], hosts: Mapping[str, HostState]) -> Dict[str, Any]:
    """A lab for a diff: plain, sorted, and the same shape for what is and what should be."""
    return {'networks': sorted(networks), 'hosts': {name: _shown_host(hosts[name]) for name in sorted(hosts)}}


def _shown_host(host: HostState) -> Dict[str, Any]:
    nics = {name: {**nic._asdict(), 'addresses': sorted(nic.addresses)} for name, nic in sorted(host.nics.items())}
    sysctls = {path: host.sysctls[path] for path in sorted(host.sysctls)}
    return {'interfaces': nics, 'loopback_addresses': sorted(host.loopback), 'sysctls': sysctls, 'up': host.up}


def bridges(switch: Optional[Seen]) -> Tuple[str, ...]:
    """The networks that are up in the switch."""
    links = switch.links.values() if switch else ()
    return tuple(sorted(link.name for link in links if link.kind == 'bridge' and link.up))


def not_ready(topology: Topology, seen: Mapping[str, Seen]) -> List[str]:
    """NICs that would still lose a packet: no carrier, or an address under detection."""
    waiting: List[str] = []
    for host in topology.hosts:
        for nic in host.interfaces:
            ends = (seen[host.name].links.get(nic.name), seen[naming.SWITCH].links.get(nic.port))
            if not all(end is not None and end.ready for end in ends):
                waiting.append(f'{host.name} {nic.name}')
    return waiting
