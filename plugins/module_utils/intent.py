# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intent: what the user wrote, as frozen values. The first step of the way of the data.

Pure: nothing here knows the host. What depends on the host (which NIC, which
subnet, which table name) is settled in bind.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from . import values
from .errors import PolicyError

STRATEGIES = ('static', 'source', 'mark', 'connmark', 'vrf', 'egress_service')
#: What tells a reply's network where strategy vrf has put the network into a VRF.
SELECTORS = ('source', 'mark', 'connmark')
#: Who answers a request: a process of the host, pods behind the host's own address translation, or pods behind the
#: virtual switch of OVN-Kubernetes in local gateway mode.
DATA_PATHS = ('host', 'dnat', 'ovn_kubernetes')
#: The transport protocols of a Service's ports (Kubernetes API, ServicePort), and their numbers.
PROTOCOLS: Dict[str, int] = {'tcp': 6, 'udp': 17, 'sctp': 132}
#: How a network's interface may be told; exactly one of them.
FINDERS = ('interface', 'mac', 'subnet', 'address')

#: FRA_PRIORITY is 32 bits; everything at and above main's rule would never be asked.
_LAST_PRIORITY = 32765
_LAST_TABLE = 0xFFFFFFFF
#: Conntrack zones are 16 bits (nft(8), ct zone).
_LAST_ZONE = 0xFFFF
#: Tables that are the kernel's: unspec, compat, default, main, local.
_KERNEL_TABLES: FrozenSet[int] = frozenset((0, 252, 253, 254, 255))

#: Where replies of a Service with externalTrafficPolicy Local come from in OVN-Kubernetes 1.0: the .3 of its masquerade
#: subnets (option --gateway-v4-masquerade-subnet; 169.254.169.3 in clusters that began with an older one).
MASQUERADE = ('169.254.0.3', 'fd69::3')

#: Dictionaries, because key views compare in C; ten thousand services are parsed in a run.
NETWORK_KEYS = dict.fromkeys(('name', *FINDERS, 'gateways', 'table', 'mark', 'clients', 'onlink', 'vrf'))
SERVICE_KEYS = dict.fromkeys(('name', 'network', 'vips', 'backends', 'data_path', 'cluster_ips', 'node_ports'))
POLICY_KEYS = dict.fromkeys(
    (
        'strategy',
        'selector',
        'networks',
        'services',
        'exclude',
        'priority_base',
        'priority_count',
        'table_base',
        'mark_mask',
        'check_vips',
        'fallback_default',
        'drain',
        'zones',
        'zone_base',
        'strict_reverse_path',
        'veth',
        'masquerade',
    )
)


@dataclass(frozen=True)
class Network:
    """One network over which services are reached."""

    name: str
    finder: str
    wanted: str
    gateways: Dict[str, str]
    table: Optional[str]
    mark: Optional[int]
    clients: Tuple[str, ...]
    onlink: bool
    vrf: str


@dataclass(frozen=True)
class Service:
    """One service: its VIPs, the network they are reached over, and what its replies come from.

    `node_ports` are (protocol, port); with cluster_ips they are for data path ovn_kubernetes only.
    """

    name: str
    network: str
    vips: Tuple[str, ...]
    backends: Tuple[str, ...]
    data_path: str
    cluster_ips: Tuple[str, ...] = ()
    node_ports: Tuple[Tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ReturnPolicy:
    """The whole intent of one host."""

    strategy: str
    selector: str
    networks: Tuple[Network, ...]
    services: Tuple[Service, ...]
    exclude: Tuple[str, ...]
    priority_base: int
    priority_count: int
    table_base: int
    mark_mask: int
    check_vips: bool
    fallback_default: bool
    drain: float
    zones: bool
    zone_base: int
    strict_reverse_path: bool
    veth: bool
    masquerade: Dict[str, str]


def parse_policy(data: Any) -> ReturnPolicy:
    """The user's mapping as a ReturnPolicy, or a PolicyError that names the key and the value."""
    given = values.mapping('', data, POLICY_KEYS, required=('strategy', 'networks'))
    mask = values.mark_mask('mark_mask', given.get('mark_mask', 0x00FF0000))
    base = values.integer('priority_base', given.get('priority_base', 3000), 1, _LAST_PRIORITY)
    strategy = values.choice('strategy', given['strategy'], STRATEGIES)
    policy = ReturnPolicy(
        strategy=strategy,
        selector=_selector(strategy, given.get('selector')),
        networks=tuple(
            _network(f'networks[{at}]', item, mask)
            for at, item in enumerate(values.sequence('networks', given['networks'], least=1))
        ),
        services=_services(given.get('services')),
        exclude=_prefixes('exclude', given.get('exclude')),
        priority_base=base,
        priority_count=values.integer(
            'priority_count', given.get('priority_count', 1000), 1, _LAST_PRIORITY - base + 1
        ),
        table_base=values.integer('table_base', given.get('table_base', 3000), 1, _LAST_TABLE - 0xFFFF),
        mark_mask=mask,
        check_vips=values.boolean('check_vips', given.get('check_vips', True)),
        fallback_default=values.boolean('fallback_default', given.get('fallback_default', False)),
        drain=values.seconds('drain', given.get('drain', 0.5), 60.0),
        zones=values.boolean('zones', given.get('zones', False)),
        zone_base=values.integer('zone_base', given.get('zone_base', 3000), 1, _LAST_ZONE - len(given['networks'])),
        strict_reverse_path=values.boolean('strict_reverse_path', given.get('strict_reverse_path', False)),
        veth=values.boolean('veth', given.get('veth', False)),
        masquerade=values.by_family('masquerade', _addresses('masquerade', given.get('masquerade', MASQUERADE), 0)),
    )
    _check_whole(policy)
    return policy


def _selector(strategy: str, told: Any) -> str:
    if strategy != 'vrf':
        if told is not None:
            raise PolicyError('selector', told, f'is for strategy vrf only, not for {strategy}')
        return strategy
    return values.choice('selector', 'connmark' if told is None else told, SELECTORS)


def _network(key: str, data: Any, mask: int) -> Network:
    given = values.mapping(key, data, NETWORK_KEYS, required=('name', 'gateways'))
    finder, wanted = _finder(key, given)
    gateways = [
        values.address(f'{key}.gateways[{at}]', item)
        for at, item in enumerate(values.sequence(f'{key}.gateways', given['gateways'], least=1))
    ]
    return Network(
        name=values.name(f'{key}.name', given['name']),
        finder=finder,
        wanted=wanted,
        gateways=values.by_family(f'{key}.gateways', gateways),
        table=_table(f'{key}.table', given.get('table')),
        mark=_mark(f'{key}.mark', given.get('mark'), mask),
        clients=_prefixes(f'{key}.clients', given.get('clients')),
        onlink=values.boolean(f'{key}.onlink', given.get('onlink', False)),
        vrf=values.interface(f'{key}.vrf', given.get('vrf', f'vrf-{given["name"]}'[:15])),
    )


def _finder(key: str, given: Dict[str, Any]) -> Tuple[str, str]:
    told = [finder for finder in FINDERS if finder in given]
    if len(told) != 1:
        raise PolicyError(key, {name: given[name] for name in told}, f'needs exactly one of {", ".join(FINDERS)}')
    parse = {'interface': values.interface, 'mac': values.mac, 'subnet': values.prefix, 'address': values.address}
    return told[0], parse[told[0]](f'{key}.{told[0]}', given[told[0]])


def _table(key: str, value: Any) -> Optional[str]:
    """A table as text: a number, or a name that bind.py looks up on the host."""
    if value is None:
        return None
    if isinstance(value, str) and not value[:1].isdigit():
        return values.name(key, value)
    number = values.integer(key, value, 1, _LAST_TABLE)
    if number in _KERNEL_TABLES:
        raise PolicyError(key, value, "is one of the kernel's own tables; use a table of its own")
    return str(number)


def _mark(key: str, value: Any, mask: int) -> Optional[int]:
    if value is None:
        return None
    mark = values.integer(key, value, 1, 0xFFFFFFFF)
    if mark & ~mask:
        raise PolicyError(key, value, f'has bits outside mark_mask {mask:#010x}')
    return mark


def _prefixes(key: str, data: Any) -> Tuple[str, ...]:
    found = (values.prefix(f'{key}[{at}]', item) for at, item in enumerate(values.sequence(key, data)))
    return tuple(dict.fromkeys(found))


def _services(data: Any) -> Tuple[Service, ...]:
    return tuple(_service(f'services[{at}]', item) for at, item in enumerate(values.sequence('services', data)))


def _service(key: str, data: Any) -> Service:
    given = values.mapping(key, data, SERVICE_KEYS, required=('network', 'vips'))
    vips = _addresses(f'{key}.vips', given['vips'], least=1)
    backends = _addresses(f'{key}.backends', given.get('backends'), least=0)
    cluster_ips = _addresses(f'{key}.cluster_ips', given.get('cluster_ips'), least=0)
    node_ports = _node_ports(f'{key}.node_ports', given['node_ports']) if 'node_ports' in given else ()
    path = _data_path(key, given, bool(backends), bool(cluster_ips or node_ports))
    name = values.name(f'{key}.name', given.get('name', vips[0].replace(':', '-').strip('-')))
    network = values.name(f'{key}.network', given['network'])
    return Service(name, network, vips, backends, path, cluster_ips, node_ports)


def _data_path(key: str, given: Dict[str, Any], backends: bool, of_cluster: bool) -> str:
    """The data path, told or by what is given for it; what belongs to another one is an error."""
    guess = 'ovn_kubernetes' if of_cluster else 'dnat' if backends else 'host'
    path = values.choice(f'{key}.data_path', given.get('data_path', guess), DATA_PATHS)
    if (path == 'dnat') != backends:
        raise PolicyError(f'{key}.data_path', path, 'dnat needs backends, and the others have none')
    if (path == 'ovn_kubernetes') != of_cluster:
        raise PolicyError(
            f'{key}.data_path', path, 'ovn_kubernetes needs cluster_ips or node_ports, and the others have none'
        )
    return path


def _node_ports(key: str, data: Any) -> Tuple[Tuple[str, int], ...]:
    given = values.mapping(key, data, PROTOCOLS)
    return tuple(
        (protocol, values.integer(f'{key}.{protocol}', port, 1, 0xFFFF))
        for protocol, ports in given.items()
        for port in values.sequence(f'{key}.{protocol}', ports, least=1)
    )


def _addresses(key: str, data: Any, least: int) -> Tuple[str, ...]:
    return tuple([values.address(key, item) for item in values.sequence(key, data, least)])


def _check_whole(policy: ReturnPolicy) -> None:
    """What can only be seen of the whole: names and values that must differ, references that must exist."""
    names = [network.name for network in policy.networks]
    _distinct('name', names)
    _distinct('table', [network.table for network in policy.networks])
    _distinct('mark', [network.mark for network in policy.networks])
    _distinct('vrf', [network.vrf if policy.strategy == 'vrf' else None for network in policy.networks])
    _distinct('interface', [(network.finder, network.wanted) for network in policy.networks])
    gateways = {network.name: network.gateways for network in policy.networks}
    for at, service in enumerate(policy.services):
        if service.network not in gateways:
            raise PolicyError(
                f'services[{at}].network', service.network, f'no such network; known are {", ".join(names)}'
            )
        _check_families(f'services[{at}]', service, gateways[service.network])
    if policy.zones and policy.selector != 'connmark':
        raise PolicyError('zones', True, f'is for connmark; {policy.selector} does not look at connections')
    _check_veth(policy)
    _check_reverse_path(policy)
    room = values.mask_values(policy.mark_mask)[1]
    if len(names) > room:
        raise PolicyError(
            'mark_mask', f'{policy.mark_mask:#010x}', f'holds {room} marks, {len(names)} networks need one each'
        )


def _check_veth(policy: ReturnPolicy) -> None:
    """Each VIP of the host has a route of its own over the pair, so they must be known."""
    if policy.veth and policy.strategy != 'vrf':
        raise PolicyError('veth', True, f'is for strategy vrf only, not for {policy.strategy}')
    if policy.veth and not policy.services:
        raise PolicyError('services', [], 'veth leads the VIPs over a veth pair, one route each, and needs them listed')


def _check_reverse_path(policy: ReturnPolicy) -> None:
    """Nft's fib looks up by address and mark only, so it does not find the way back that a port tells."""
    by_port = any(service.node_ports for service in policy.services) and policy.selector in ('source', 'mark')
    if policy.strict_reverse_path and (by_port or policy.strategy == 'egress_service'):
        reason = 'would drop requests whose way back a port tells (externalTrafficPolicy Local); use strategy connmark'
        raise PolicyError('strict_reverse_path', True, reason)


def _check_families(key: str, service: Service, gateways: Dict[str, str]) -> None:
    """A VIP of a family without a gateway would be answered by the default route, whatever the strategy."""
    families = {values.family_of(vip): vip for vip in service.vips}
    for family, vip in families.items():
        if family not in gateways:
            raise PolicyError(f'{key}.vips', vip, f'{service.network} has no {family} gateway')
    for backend in service.backends:
        if values.family_of(backend) not in families:
            raise PolicyError(
                f'{key}.backends', backend, f'the service has no {values.family_of(backend)} VIP to be reached by'
            )


def _distinct(what: str, items: List[Any]) -> None:
    first: Dict[Any, int] = {}
    for at, item in enumerate(items):
        if item is None:
            continue
        if item in first:
            shown = item if not isinstance(item, tuple) else item[1]
            raise PolicyError(
                f'networks[{at}].{what}', shown, f'is taken by networks[{first[item]}]; each network needs its own'
            )
        first[item] = at
