# Copyright: returntraffic contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which source addresses a reply can have when it is routed, and which network each belongs to.

Routing happens before address translation is undone: a process on the host answers
from the VIP, a pod behind DNAT from its own address. What comes out of the virtual switch of
OVN-Kubernetes in local gateway mode has the ClusterIP (externalTrafficPolicy Cluster), or the
masquerade address with the node port as its source port (Local).
"""

from __future__ import annotations

from typing import Dict, Iterator, Tuple

from ..bind import Bound
from ..errors import PolicyError
from ..intent import Service

#: (protocol, source port) of what comes from a masquerade address.
Port = Tuple[str, int]


def sources_by_network(bound: Bound) -> Dict[str, str]:
    """Source address -> network name, for all services; PolicyError when an address would belong to two."""
    owner: Dict[str, str] = {}
    for at, service in enumerate(bound.policy.services):
        for what, addresses in _addresses(service):
            for address in addresses:
                if owner.setdefault(address, service.network) != service.network:
                    raise _claimed(f'services[{at}].{what}', address, owner[address], what)
    if not bound.policy.services:
        raise PolicyError(
            'services', [], f'strategy {bound.policy.strategy} selects by source address and needs services'
        )
    return owner


def _addresses(service: Service) -> Iterator[Tuple[str, Tuple[str, ...]]]:
    """The addresses by the key they were given with. Nothing leaves OVN-Kubernetes with a VIP."""
    if service.data_path == 'ovn_kubernetes':
        yield 'cluster_ips', service.cluster_ips
    else:
        yield 'vips', service.vips
        yield 'backends', service.backends


def ports_by_network(bound: Bound) -> Dict[Port, str]:
    """Source port of a masquerade address -> network name; PolicyError when a port would belong to two."""
    owner: Dict[Port, str] = {}
    for at, service in enumerate(bound.policy.services):
        for protocol, port in service.node_ports:
            if owner.setdefault((protocol, port), service.network) != service.network:
                key = f'services[{at}].node_ports.{protocol}'
                raise PolicyError(key, port, f'is that of a service of {owner[protocol, port]} too')
    return owner


def _claimed(key: str, address: str, network: str, what: str) -> PolicyError:
    reason = (
        'a VIP has one network' if what == 'vips' else 'its replies have one source address whichever VIP was asked'
    )
    return PolicyError(key, address, f'is reached over {network} too; {reason}: use strategy connmark')
