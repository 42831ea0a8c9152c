# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as the user wrote it, checked, as frozen values. Pure: no kernel is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Set, Tuple

from .. import values
from ..errors import PolicyError
from . import naming

TOPOLOGY_KEYS = dict.fromkeys(('name', 'networks', 'hosts'))
NETWORK_KEYS = dict.fromkeys(('name', 'prefixes'))
HOST_KEYS = dict.fromkeys(('name', 'interfaces', 'loopback_addresses', 'sysctls'))
INTERFACE_KEYS = dict.fromkeys(('name', 'network', 'addresses', 'mtu', 'mac'))

#: ETH_MIN_MTU and what veth takes at most (drivers/net/veth.c); IPv6 wants 1280 (RFC 8200, 5).
_MTU = (68, 65521)
_MTU_IPV6 = 1280
_DEFAULT_MTU = 1500
_SYSCTL = re.compile(r'net\.[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*\Z|net(/[A-Za-z0-9_.-]+)+\Z')
#: Writing these resets the other settings of every interface (ip-sysctl.rst), so they go first.
_FIRST = ('net/ipv4/ip_forward', 'net/ipv4/conf/all/forwarding', 'net/ipv6/conf/all/forwarding')


@dataclass(frozen=True)
class Network:
    """One layer 2 network: a bridge in the switch."""

    name: str
    prefixes: Tuple[str, ...]


@dataclass(frozen=True)
class Interface:
    """One NIC of a host, plugged into a network. Addresses are 'address/length', canonical."""

    name: str
    network: str
    addresses: Tuple[str, ...]
    mtu: int
    mac: str
    port: str


@dataclass(frozen=True)
class Host:
    """One host: a network namespace. `sysctls` maps paths below /proc/sys to values, in order of writing."""

    name: str
    interfaces: Tuple[Interface, ...]
    loopback: Tuple[str, ...]
    sysctls: Dict[str, str]


@dataclass(frozen=True)
class Topology:
    """The whole lab."""

    name: str
    networks: Tuple[Network, ...]
    hosts: Tuple[Host, ...]


def parse_topology(data: Any) -> Topology:
    """The checked topology; PolicyError names the first key that is wrong."""
    given = values.mapping('', data, TOPOLOGY_KEYS, ('name',))
    lab = naming.lab_name('name', given['name'])
    networks = tuple(_networks(given.get('networks')))
    known = {network.name: network for network in networks}
    hosts = tuple(_hosts(lab, given.get('hosts'), known))
    _unique_on_network(hosts)
    _unique_ports(hosts)
    return Topology(lab, networks, hosts)


def _networks(data: Any) -> Iterator[Network]:
    seen: Set[str] = set()
    for index, item in enumerate(values.sequence('networks', data, least=1)):
        key = f'networks[{index}]'
        given = values.mapping(key, item, NETWORK_KEYS, ('name',))
        name = values.interface(f'{key}.name', given['name'])
        _once(f'{key}.name', name, seen)
        prefixes = values.sequence(f'{key}.prefixes', given.get('prefixes'))
        yield Network(name, tuple(values.prefix(f'{key}.prefixes', prefix) for prefix in prefixes))


def _hosts(lab: str, data: Any, networks: Dict[str, Network]) -> Iterator[Host]:
    seen: Set[str] = set()
    for index, item in enumerate(values.sequence('hosts', data, least=1)):
        given = values.mapping(f'hosts[{index}]', item, HOST_KEYS, ('name',))
        name = naming.host_name(f'hosts[{index}].name', given['name'])
        key = f'hosts[{name}]'
        _once(f'{key}.name', name, seen)
        loopback = values.sequence(f'{key}.loopback_addresses', given.get('loopback_addresses'))
        yield Host(
            name,
            tuple(_interfaces(lab, name, given.get('interfaces'), networks)),
            tuple(_with_length(f'{key}.loopback_addresses', address) for address in loopback),
            _sysctls(f'{key}.sysctls', given.get('sysctls')),
        )


def _interfaces(lab: str, host: str, data: Any, networks: Dict[str, Network]) -> Iterator[Interface]:
    seen: Set[str] = set()
    for index, item in enumerate(values.sequence(f'hosts[{host}].interfaces', data)):
        key = f'hosts[{host}].interfaces[{index}]'
        given = values.mapping(key, item, INTERFACE_KEYS, ('name', 'network'))
        name = values.interface(f'{key}.name', given['name'])
        if name == 'lo':
            raise PolicyError(f'{key}.name', name, 'is there already; its addresses are loopback_addresses')
        _once(f'{key}.name', name, seen)
        network = values.choice(f'{key}.network', given['network'], networks)
        addresses = tuple(_addresses(f'{key}.addresses', given.get('addresses'), networks[network]))
        mac = given.get('mac')
        yield Interface(
            name,
            network,
            addresses,
            _mtu(f'{key}.mtu', given.get('mtu', _DEFAULT_MTU), addresses),
            naming.mac(lab, host, name) if mac is None else _unicast(f'{key}.mac', mac),
            naming.port(host, name),
        )


def _addresses(key: str, data: Any, network: Network) -> Iterator[str]:
    for item in values.sequence(key, data):
        address = _with_length(key, item, needed=True)
        plain = address.partition('/')[0]
        if network.prefixes and not any(values.contains(prefix, plain) for prefix in network.prefixes):
            raise PolicyError(key, item, f'is not in {network.name}, which has {", ".join(network.prefixes)}')
        yield address


def _with_length(key: str, value: Any, needed: bool = False) -> str:
    """'address/length' in canonical form; host bits are what makes it an address."""
    if not isinstance(value, str):
        raise PolicyError(key, value, 'must be an address such as 10.0.0.1/24')
    head, slash, tail = value.partition('/')
    if needed and not slash:
        raise PolicyError(key, value, 'needs a prefix length such as /24')
    address = values.address(key, head)
    bits = 128 if ':' in address else 32
    if slash and not tail.isdigit():
        raise PolicyError(key, value, f'prefix length must be a whole number from 0 to {bits}')
    return f'{address}/{values.integer(key, tail, 0, bits) if slash else bits}'


def _mtu(key: str, value: Any, addresses: Iterable[str]) -> int:
    mtu = values.integer(key, value, *_MTU)
    if mtu < _MTU_IPV6 and any(':' in address for address in addresses):
        raise PolicyError(key, mtu, f'must be at least {_MTU_IPV6} on an interface with IPv6 addresses')
    return mtu


def _unicast(key: str, value: Any) -> str:
    mac = values.mac(key, value)
    if int(mac[:2], 16) & 1 or mac == '00:00:00:00:00:00':
        raise PolicyError(key, value, 'must be a unicast address (even first byte, not all zero)')
    return mac


def _sysctls(key: str, data: Any) -> Dict[str, str]:
    """Settings by path, those that reset others in front."""
    found: Dict[str, str] = {}
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise PolicyError(key, data, 'must be a mapping')
    for name, value in data.items():
        if not isinstance(name, str) or not _SYSCTL.match(name) or '..' in name:
            raise PolicyError(key, name, 'must be a setting below net., such as net.ipv4.ip_forward')
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise PolicyError(f'{key}.{name}', value, 'must be a number or a text')
        # As sysctl(8): dots are separators, unless slashes are, so that a NIC's name may hold a dot.
        path = name if '/' in name else name.replace('.', '/')
        found[path] = ' '.join(str(value).split())
    return dict(sorted(found.items(), key=lambda item: item[0] not in _FIRST))


def _once(key: str, name: str, seen: Set[str]) -> None:
    if name in seen:
        raise PolicyError(key, name, 'is there twice')
    seen.add(name)


def _unique_on_network(hosts: Iterable[Host]) -> None:
    """Two NICs with one address or one MAC on a network would answer for each other."""
    owners: Dict[Tuple[str, str], str] = {}
    for host in hosts:
        for interface in host.interfaces:
            for item in (*(address.partition('/')[0] for address in interface.addresses), interface.mac):
                owner = owners.setdefault((interface.network, item), f'{host.name} {interface.name}')
                if owner != f'{host.name} {interface.name}':
                    key = f'hosts[{host.name}].interfaces'
                    raise PolicyError(key, item, f'belongs to {owner} on {interface.network} already')


def _unique_ports(hosts: Iterable[Host]) -> None:
    ports: List[str] = [interface.port for host in hosts for interface in host.interfaces]
    for name in ports:
        if ports.count(name) > 1:
            raise PolicyError('hosts', name, 'two interfaces would have this switch port; rename one of the hosts')
