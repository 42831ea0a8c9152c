# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab as Docker networks and containers: what the modules of community.docker are to be told. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Set, Tuple

from ..errors import PolicyError
from . import naming
from .plan import settings_of
from .topology import Host, Interface, Network, Topology

#: The label that says whose lab a container or network is; what lacks it is never touched.
LABEL = 'net.returntraffic.lab'
#: The label of a container that was put beside one of the lab's (by the role frr): it stays and goes with that one.
BESIDE = 'net.returntraffic.of'
#: Docker has no masquerading and no address of its own in the lab, and passes on whatever the lab's hosts route.
_OPTIONS = {
    'com.docker.network.bridge.enable_ip_masquerade': 'false',
    'com.docker.network.bridge.inhibit_ipv4': 'true',
    # Engines before 27 do not know these; later ones would drop what comes to a container by another bridge.
    'com.docker.network.bridge.gateway_mode_ipv4': 'routed',
    'com.docker.network.bridge.gateway_mode_ipv6': 'routed',
}
_MTU = 'com.docker.network.driver.mtu'
#: Networks that every daemon has.
_PREDEFINED = ('host', 'none')


class Found(NamedTuple):
    """A network of the daemon with its `subnets`, or a container: whether it `runs`, and what it is `of`."""

    name: str
    lab: str
    subnets: Tuple[str, ...] = ()
    runs: bool = False
    of: str = ''


class Containers(NamedTuple):
    """What is to be there, as arguments of docker_network and docker_container, and what of ours is to go.

    `beside` are containers that share the network of one that is to be there: when that is made anew, they keep its
    former network alive, with a NIC of the same MAC.
    """

    networks: List[Dict[str, Any]]
    containers: List[Dict[str, Any]]
    stale_networks: List[str]
    stale_containers: List[str]
    beside: List[Dict[str, str]]


def gateway_of(prefix: str) -> str:
    """The address that Docker takes for itself on a network: among the last, as the lab's hosts have the first ones.

    Engine 20.10 cannot count to the end of a /64.
    """
    network = ipaddress.ip_network(prefix)
    return str(network[min(network.num_addresses, 1 << 16) - 2])


def plan_containers(topology: Topology, networks: Sequence[Found], containers: Sequence[Found]) -> Containers:
    """The topology in Docker's terms. PolicyError if Docker cannot have it, or if others have what it needs."""
    for host in topology.hosts:
        _no_late_settings(host)
    _all_apart(topology, networks)
    wanted_networks = [_network(topology, network) for network in topology.networks]
    wanted_containers = [_container(topology, host) for host in topology.hosts]
    return Containers(
        wanted_networks,
        wanted_containers,
        _stale(topology.name, networks, _names(wanted_networks), 'network'),
        _stale(topology.name, containers, _names(wanted_containers), 'container'),
        [{'name': item.name, 'of': item.of} for item in containers if item.of in _names(wanted_containers)],
    )


def parse_networks(data: Iterable[Mapping[str, Any]]) -> List[Found]:
    """Docker's networks as docker_host_info lists them."""
    return [
        Found(str(item['Name']), _label(item, LABEL), tuple(_subnets(item)))
        for item in data
        if item.get('Name') not in _PREDEFINED
    ]


def parse_containers(data: Iterable[Mapping[str, Any]]) -> List[Found]:
    """Docker's containers as docker_host_info lists them."""
    return [
        Found(
            str(name).lstrip('/'),
            _label(item, LABEL),
            runs=item.get('State') == 'running',
            of=_label(item, BESIDE),
        )
        for item in data
        for name in item.get('Names') or ()
    ]


def _label(item: Mapping[str, Any], name: str) -> str:
    return str((item.get('Labels') or {}).get(name, ''))


def _subnets(item: Mapping[str, Any]) -> Iterator[str]:
    for part in (item.get('IPAM') or {}).get('Config') or ():
        if part.get('Subnet'):
            yield str(part['Subnet'])


def _names(wanted: Iterable[Mapping[str, Any]]) -> Set[str]:
    return {str(item['name']) for item in wanted}


def _stale(lab: str, found: Iterable[Found], wanted: Set[str], kind: str) -> List[str]:
    """Ours that nobody wants any more; PolicyError if one that is wanted belongs to others."""
    for item in found:
        if item.name in wanted and item.lab != lab:
            raise PolicyError('name', lab, f'the {kind} {item.name} is there and belongs to others')
    return sorted(item.name for item in found if item.lab == lab and not wanted.intersection((item.name, item.of)))


def _no_late_settings(host: Host) -> None:
    for path in settings_of(host)[1]:
        reason = 'a container gets its settings before its NICs; set that of "all" or "default" instead'
        raise PolicyError(f'hosts[{host.name}].sysctls', path, reason)


def _all_apart(topology: Topology, networks: Iterable[Found]) -> None:
    """Docker has each subnet once, whoever asks for it."""
    taken: List[Tuple[str, str]] = [
        (subnet, f'the Docker network {network.name}')
        for network in networks
        if network.lab != topology.name
        for subnet in network.subnets
    ]
    for network in topology.networks:
        for prefix in _prefixes(network):
            for subnet, owner in taken:
                if _overlap(prefix, subnet):
                    reason = f'overlaps {subnet}, which {owner} has; remove that or take other subnets'
                    raise PolicyError(f'networks[{network.name}].prefixes', prefix, reason)
            taken.append((prefix, f'the network {network.name}'))


def _overlap(one: str, other: str) -> bool:
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)


def _prefixes(network: Network) -> Tuple[str, ...]:
    versions = [':' in prefix for prefix in network.prefixes]
    if not versions or len(set(versions)) < len(versions):
        reason = 'the docker backend needs one prefix, or one of each family'
        raise PolicyError(f'networks[{network.name}].prefixes', list(network.prefixes), reason)
    return network.prefixes


def _network(topology: Topology, network: Network) -> Dict[str, Any]:
    nics = [(host, nic) for host in topology.hosts for nic in host.interfaces if nic.network == network.name]
    gateways = {prefix: gateway_of(prefix) for prefix in _prefixes(network)}
    for host, nic in nics:
        for address in nic.addresses:
            if address.partition('/')[0] in gateways.values():
                reason = f'Docker has this address of {network.name} itself; take another one'
                raise PolicyError(f'hosts[{host.name}].interfaces', address, reason)
    return {
        'name': naming.namespace(topology.name, network.name),
        'ipam_config': [{'subnet': prefix, 'gateway': gateway} for prefix, gateway in gateways.items()],
        'enable_ipv6': any(':' in prefix for prefix in gateways),
        'driver_options': {**_OPTIONS, _MTU: str(max((nic.mtu for _host, nic in nics), default=1500))},
        'labels': {LABEL: topology.name},
    }


def _container(topology: Topology, host: Host) -> Dict[str, Any]:
    return {
        'name': naming.namespace(topology.name, host.name),
        'hostname': host.name,
        'networks': [_attachment(topology.name, host, nic) for nic in host.interfaces],
        'sysctls': {path.replace('/', '.'): value for path, value in host.sysctls.items()},
        'labels': {LABEL: topology.name},
    }


def _attachment(lab: str, host: Host, nic: Interface) -> Dict[str, str]:
    """A NIC without an address would get one that Docker chooses, and could not be told from others."""
    wanted = {'name': naming.namespace(lab, nic.network)}
    for address in nic.addresses:
        key = 'ipv6_address' if ':' in address else 'ipv4_address'
        wanted.setdefault(key, address.partition('/')[0])
    if len(wanted) == 1:
        key = f'hosts[{host.name}].interfaces[{nic.name}].addresses'
        raise PolicyError(key, [], 'the docker backend finds a NIC by its address, so it needs one')
    return wanted
