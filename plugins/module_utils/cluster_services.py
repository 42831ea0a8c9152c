# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LoadBalancer services as the Kubernetes API tells them, to what a return policy and OVN-Kubernetes need. Pure.

The network of a service is told by its VIPs: each network has prefixes, its pools.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import values
from .errors import PolicyError

#: Marks the EgressService objects that are ours, so that no other is ever taken away.
MANAGED_BY = {'app.kubernetes.io/managed-by': 'returntraffic'}
PENDING = ('error', 'ignore')
#: The user's pool of MetalLB, named in messages only (its annotation on Services).
_POOL = 'metallb.io/address-pool'


class Found(NamedTuple):
    """A LoadBalancer service that is reached over one of the networks."""

    namespace: str
    name: str
    network: str
    vips: Tuple[str, ...]
    spec: Mapping[str, Any]


def return_services(objects: Iterable[Any], pools: Any, pending: str = 'error') -> List[Dict[str, Any]]:
    """`services` of return_policy, with data path ovn_kubernetes; PolicyError names the Service."""
    return [_return_service(found) for found in find(objects, pools, pending)]


def egress_services(
    objects: Iterable[Any], pools: Any, tables: Mapping[str, Any], source_ip_by: str = 'Network', pending: str = 'error'
) -> List[Dict[str, Any]]:
    """EgressService objects of OVN-Kubernetes, whose `network` is the number of the network's table."""
    wanted = values.choice('source_ip_by', source_ip_by, ('Network', 'LoadBalancerIP'))
    return [_egress_service(found, tables, wanted) for found in find(objects, pools, pending)]


def find(objects: Iterable[Any], pools: Any, pending: str) -> List[Found]:
    """Those of type LoadBalancer with VIPs in the pools, in the order of namespaces and names."""
    prefixes = _prefixes(pools)
    values.choice('pending', pending, PENDING)
    found = []
    for item in sorted(objects, key=_key):
        if item['spec'].get('type') == 'LoadBalancer':
            vips = _vips(item, pending)
            network = _network(item, vips, prefixes)
            if network is not None:
                found.append(Found(*_key(item), network, vips, item['spec']))
    return found


def _key(item: Any) -> Tuple[str, str]:
    return item['metadata']['namespace'], item['metadata']['name']


def _title(namespace: str, name: str) -> str:
    return f'Service {namespace}/{name}'


def _prefixes(pools: Any) -> List[Tuple[str, str]]:
    """(prefix, network)."""
    return [
        (values.prefix(f'pools.{network}[{at}]', prefix), network)
        for network, prefixes in values.mapping('pools', pools, pools if isinstance(pools, dict) else {}).items()
        for at, prefix in enumerate(values.sequence(f'pools.{network}', prefixes, least=1))
    ]


def _vips(item: Any, pending: str) -> Tuple[str, ...]:
    ingress = ((item.get('status') or {}).get('loadBalancer') or {}).get('ingress') or []
    vips = tuple(values.address(f'{_title(*_key(item))}: status.loadBalancer', one.get('ip')) for one in ingress)
    if not vips and pending == 'error':
        pool = (item['metadata'].get('annotations') or {}).get(_POOL)
        asked = f'; it asks for the pool {pool}' if pool else ''
        raise PolicyError(
            _title(*_key(item)), 'status.loadBalancer', f'has no VIP{asked}; see the events of the Service'
        )
    return vips


def _network(item: Any, vips: Sequence[str], prefixes: Sequence[Tuple[str, str]]) -> Optional[str]:
    """The one network of all VIPs; None when they are of none, for then the default route is right."""
    networks = {vip: _network_of(vip, prefixes) for vip in vips}
    if len(set(networks.values())) > 1:
        shown = ', '.join(f'{vip} in {network or "none"}' for vip, network in networks.items())
        raise PolicyError(_title(*_key(item)), list(vips), f'its VIPs are of more than one network: {shown}')
    return next(iter(networks.values()), None)


def _network_of(vip: str, prefixes: Sequence[Tuple[str, str]]) -> Optional[str]:
    fitting = [
        (int(prefix.rpartition('/')[2]), network) for prefix, network in prefixes if values.contains(prefix, vip)
    ]
    return max(fitting)[1] if fitting else None


def _return_service(found: Found) -> Dict[str, Any]:
    return {
        'name': f'{found.namespace}.{found.name}'[:63],
        'network': found.network,
        'vips': list(found.vips),
        'data_path': 'ovn_kubernetes',
        **_sources(found),
    }


def _sources(found: Found) -> Dict[str, Any]:
    """What its replies come from, by externalTrafficPolicy (Kubernetes API, ServiceSpec; Cluster unless told)."""
    if found.spec.get('externalTrafficPolicy', 'Cluster') != 'Local':
        families = {values.family_of(vip) for vip in found.vips}
        return {'cluster_ips': [one for one in found.spec['clusterIPs'] if values.family_of(one) in families]}
    ports: Dict[str, List[int]] = {}
    for port in found.spec['ports']:
        if not port.get('nodePort'):
            reason = 'externalTrafficPolicy Local is told by the node port, and there is none; use strategy connmark'
            raise PolicyError(_title(found.namespace, found.name), f'port {port["port"]}', reason)
        ports.setdefault(port.get('protocol', 'TCP').lower(), []).append(port['nodePort'])
    return {'node_ports': ports}


def _egress_service(found: Found, tables: Mapping[str, Any], source_ip_by: str) -> Dict[str, Any]:
    if found.network not in tables:
        raise PolicyError('tables', dict(tables), f'has none for {found.network}')
    table = values.integer(f'tables.{found.network}', tables[found.network], 1, 0xFFFFFFFF)
    return {
        'apiVersion': 'k8s.ovn.org/v1',
        'kind': 'EgressService',
        'metadata': {'namespace': found.namespace, 'name': found.name, 'labels': dict(MANAGED_BY)},
        'spec': {'sourceIPBy': source_ip_by, 'network': str(table)},
    }
